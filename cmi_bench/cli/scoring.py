"""Score what a command asks for, with the benchmark's stages, cache and stores, but without a run's folder."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, NamedTuple

from cmi_bench.cli.wanted import WantedSong
from cmi_bench.errors import UserError

if TYPE_CHECKING:
    from cmi_bench.config import Config
    from cmi_bench.inference.scores import ClipScore


@dataclass(frozen=True)
class ModelOptions:
    """Which model, where, and how; None is the benchmark's own default."""

    model: str | None = None
    checkpoint: str | None = None
    device: str = "auto"
    max_dur: float | None = None
    precision: str | None = None
    cache_dir: Path | None = None
    no_cache: bool = False
    settings: Sequence[str] = ()
    """In Hydra's words, as on `run.py`'s command line."""

    def __post_init__(self) -> None:
        if self.no_cache and self.cache_dir is not None:
            raise UserError("Both --no-cache and --cache-dir are given.", "Give one of them.")


class Scored(NamedTuple):
    """What a command has to show."""

    model: str
    """Its name."""
    scores: list["ClipScore"]
    """One for each song, in their order."""


def score_songs(songs: Sequence[WantedSong], options: ModelOptions) -> Scored:
    """Score songs; what cannot be scored says so by itself.

    Scores and embeddings are looked up and kept where the benchmark keeps them, so that the same command, stopped
    and started again, goes on where it was.

    Raises:
        UserError: The model, the device or a setting is not right, or nothing can be written.
    """
    config = _config(options)
    # Torch takes two seconds to load: mistakes are told before.
    from cmi_bench.api.load import build_listener
    from cmi_bench.inference.audio_index import FileIndex
    from cmi_bench.inference.clips import Clip
    from cmi_bench.inference.plain_runner import PlainRunner
    from cmi_bench.inference.plan import BatchLimits
    from cmi_bench.inference.score import score_clips
    from cmi_bench.inference.settings import ScoreSettings

    clips = [
        Clip(f"{number}:a", song.audio, song.instruction.text, song.instruction.lyrics, song.instruction.ref_audio)
        for number, song in enumerate(songs, start=1)
    ]
    settings = ScoreSettings(
        max_dur=config.max_dur,
        score_kwargs=config.model.get("score_kwargs") or {},
        cache_dir=Path(config.cache.dir) if config.cache.dir else None,
        resume=config.resume,
        stop_on_failure=False,
    )
    limits = BatchLimits(config.batch_size, config.batch_seconds)
    runner = PlainRunner(limits, workers=config.workers, show_progress=True)
    model = build_listener(config, options.device)
    with TemporaryDirectory(prefix="cmi-bench-") as folder:
        found = score_clips(clips, model, runner, settings=settings, index=FileIndex(), folder=Path(folder)).scores
    _prune(config)
    return Scored(str(config.model["name"]), [found[clip.clip_id] for clip in clips])


def _config(options: ModelOptions) -> "Config":
    from cmi_bench.api.configuration import compose_config

    return compose_config(
        options.model,
        {} if options.checkpoint is None else {"checkpoint": options.checkpoint},
        values={
            "max_dur": options.max_dur,
            "precision": options.precision,
            "cache.dir": str(options.cache_dir.absolute()) if options.cache_dir else None,
        },
        overrides=[*(["cache=off"] if options.no_cache else []), *options.settings],
    )


def _prune(config: "Config") -> None:
    """Keep the embeddings within their bound, as the benchmark does after a run."""
    from cmi_bench.inference.embedding_cache import EmbeddingCache

    if config.cache.dir is not None:
        EmbeddingCache(Path(config.cache.dir) / "embeddings").prune(config.cache.max_gb)
