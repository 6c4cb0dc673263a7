"""How fast a run has encoded audio, as a share of what its device can do; for `metadata.json`."""

from typing import Any

import torch

from cmi_bench.models.base import BenchmarkModelABC, EmbeddingModel
from cmi_bench.models.batching import checked_precision
from cmi_bench.models.device_rate import kept_best_rate
from cmi_bench.models.memory import is_out_of_memory
from cmi_bench.scoring.run_stats import AUDIO, DEVICE, RunStats

LEAST_SECONDS = 10.0
"""Of encoding on a device, to be worth a look at what the device can do, which takes half a second or a whole."""


def encoding_rate(
    stats: RunStats, model: BenchmarkModelABC, *, device: str, precision: str
) -> dict[str, dict[str, Any]]:
    """Return what is known of the rate at which audio was encoded; nothing of a run that has encoded little.

    Args:
        stats: Of all processes.
        model: The model.
        device: This process's.
        precision: Of the products.

    Returns:
        Under "encoding": "audio_seconds" and the "device_seconds" that they took, both over all processes and without
        the first batch of each; and where the model's operations are known, "gflops" of one device, its "best_gflops"
        and their "share_of_best". The operations are those of plain modules, so that a kernel that needs fewer
        may have more than the whole.
    """
    taken, audio = stats.seconds.get(DEVICE, 0.0), stats.seconds.get(AUDIO, 0.0)
    if taken < LEAST_SECONDS * stats.processes:
        return {}
    facts = {"audio_seconds": round(audio, 1), "device_seconds": round(taken, 1)}
    operations = model.operations_per_second if isinstance(model, EmbeddingModel) else None
    if operations is None:
        return {"encoding": facts}
    rate = operations * audio / taken / 1e9
    facts["gflops"] = round(rate, 1)
    try:
        best = kept_best_rate(torch.device(device), checked_precision(precision), model.digest_dir)
    except RuntimeError as error:  # others have taken the device's memory meanwhile; all scores are there
        if not is_out_of_memory(error):
            raise
        return {"encoding": facts}
    return {"encoding": facts | {"best_gflops": round(best, 1), "share_of_best": round(rate / best, 4)}}
