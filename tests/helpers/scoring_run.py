"""A run of scoring: tiny rows through Lightning's real predict loop, as a configuration says."""

from pathlib import Path

from cmi_bench.config import CacheConfig, Config, OnError
from cmi_bench.data.audio_info import FileIndex
from cmi_bench.scoring.profiling import Profile
from cmi_bench.scoring.score import Scored, score_blocks, score_clips
from cmi_bench.scoring.trainer import LightningRunner
from cmi_bench.utils.distributed import Devices

TRAINER = {
    "_target_": "lightning.pytorch.Trainer",
    "logger": False,
    "enable_checkpointing": False,
    "enable_model_summary": False,
    "enable_progress_bar": False,
}

PROFILE_OFF = Profile(is_on=False)


def score(
    clips, model, folder: Path, *, cache: Path | None, max_dur=0.3, limits, workers=0,
    stop=True, resume=True, model_timeout=None, with_batch_check=False, batch_size=8, block=None, profile=PROFILE_OFF,
):  # fmt: skip
    """Score clips in this process; with `block`, so many at a time."""
    config = Config(
        model={},
        cache=CacheConfig(dir=str(cache) if cache else None),
        max_dur=max_dur,
        batch_size=batch_size,
        resume=resume,
        model_timeout=model_timeout,
        on_error=OnError.fail if stop else OnError.record,
    )
    runner = LightningRunner(TRAINER, Devices("cpu", 1, "cpu"), limits=limits, workers=workers)
    runner = profile.runner(runner)
    options = {"config": config, "index": FileIndex(), "folder": folder, "with_batch_check": with_batch_check}
    if block is None:
        return score_clips(clips, model, runner, **options)
    blocks = [clips[start : start + block] for start in range(0, len(clips), block)]
    found = score_blocks(blocks, model, runner, **options)
    return Scored(dict(zip((clip.clip_id for clip in clips), found.scores, strict=True)), *found[1:])
