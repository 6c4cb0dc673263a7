"""Lightning's part of scoring, as far as one process shows it; several are in the slow tests of `run.py`."""

from types import SimpleNamespace

from cmi_bench.scoring.batching import BatchLimits
from cmi_bench.scoring.trainer import StageModule, StageProgress


def test_progress_counts_the_clips_of_all_processes():
    stage = SimpleNamespace(title="scoring")
    module = StageModule(stage, SimpleNamespace(stopped=False), BatchLimits(8, 60.0), workers=0)
    module.total = 12
    first, second = (SimpleNamespace(is_global_zero=rank == 0, world_size=2) for rank in range(2))
    progress = StageProgress()

    progress.on_predict_start(first, module)
    assert (progress.bar.description, progress.bar.done, progress.bar.total) == ("scoring", 0, 12)
    progress.on_predict_batch_end(first, module, 4, None, 0)
    assert progress.bar.done == 8
    progress.on_predict_batch_end(first, module, 4, None, 1)
    assert progress.bar.done == 12  # the last batches of two processes need not be of one size

    progress.on_predict_start(second, module)
    progress.on_predict_batch_end(second, module, 4, None, 0)
    assert progress.bar.done == progress.bar.total == 0
