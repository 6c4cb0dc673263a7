"""The engine of one process: part after part through the benchmark's own stages, stores and caches."""

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from cmi_bench.api.songs import alignment_note
from cmi_bench.catalogue.parts import Answer, AskedSong, CataloguePart, ScoredWith
from cmi_bench.types import Clip

if TYPE_CHECKING:
    from cmi_bench.config import Config
    from cmi_bench.data.audio_info import AudioIndex
    from cmi_bench.models.base import BenchmarkModelABC
    from cmi_bench.scoring.batching import Runner


class LocalEngine:
    """Scores parts in this process, one after the other."""

    def __init__(self, config: "Config", device: str) -> None:
        """Take what to score with.

        Args:
            config: From `compose_config`; `on_error` is "record".
            device: As for `load_model`.
        """
        self.config = config
        self.device = device

    @cached_property
    def model(self) -> "BenchmarkModelABC":
        """The model, built when it is first asked for."""
        from cmi_bench.api.load import build_judge

        return build_judge(self.config, self.device)

    @property
    def scored_with(self) -> ScoredWith:
        """What parts are scored with."""
        return ScoredWith.of(self.model, self.config)

    def score(self, parts: Iterator[CataloguePart]) -> Iterator[tuple[CataloguePart, list[Answer]]]:
        """Yield each part with its answers, in the order of the parts."""
        from cmi_bench.data.audio_info import FileIndex
        from cmi_bench.scoring.batching import BatchLimits
        from cmi_bench.scoring.local import LocalRunner

        limits = BatchLimits(self.config.batch_size, self.config.batch_seconds)
        runner = LocalRunner(limits, workers=self.config.workers, show_progress=False)
        index = FileIndex()
        for part in parts:
            yield part, score_part(part, self.model, runner, config=self.config, index=index)


def score_part(
    part: CataloguePart, model: "BenchmarkModelABC", runner: "Runner", *, config: "Config", index: "AudioIndex"
) -> list[Answer]:
    """Return an answer for each request of a part, in their order.

    Args:
        part: What is asked.
        model: The model, on this process's device.
        runner: Runs the stages; says where audio is decoded.
        config: As for `LocalEngine`.
        index: Knows the audio files.
    """
    from cmi_bench.scoring.score import score_clips

    clips = [_clip(song) for song in part.songs()]
    with TemporaryDirectory(prefix="cmi-bench-") as folder:
        found = score_clips(
            clips, model, runner, config=config, index=index, folder=Path(folder), with_batch_check=False
        ).scores
    return [
        Answer(
            (score := found[clip.clip_id]),
            index.facts(clip.audio).digest if not score.error else None,
            alignment_note(clip, score, model.unused_inputs),
        )
        for clip in clips
    ]


def _clip(song: AskedSong) -> Clip:
    return Clip(
        f"{song.number}:a",
        Path(song.audio),
        song.text,
        song.lyrics,
        Path(song.ref_audio) if song.ref_audio else None,
    )
