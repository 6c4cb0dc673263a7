"""How fast the full-size audio tower encodes 30 s, with the kernels off and on, beside the machine's best rate.

Each setting is measured in processes of its own, in turns, since what one leaves in memory helps the next:
`python -m benchmarks.tower CHECKPOINT off|on 32|bf16` measures one and prints JSON.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.workload import build_network
from cmi_bench.models.batching import Precision, arithmetic, checked_precision, computes_bf16
from cmi_bench.models.cmi_rm.checkpoint import load_cmi_rm
from cmi_bench.models.cmi_rm.network import PreparedNetwork
from cmi_bench.models.device_rate import best_rate
from cmi_bench.models.device_rate import tower_operations as count_operations
from cmi_bench.models.hub import find_checkpoint
from cmi_bench.models.kernels.prepare import Kernels, checked_kernels

ROUNDS = 2
"""Processes for each setting and precision."""
REPEATS = 3
CHUNK = 30 * 24000
"""Samples."""
CPU = torch.device("cpu")


@dataclass(frozen=True)
class TowerSpeed:
    """What one setting came to."""

    kernels: Kernels
    precision: str
    seconds: float
    """For one chunk of 30 s; the best of all trials."""
    gflops: float
    """Rate in 10^9 operations a second, counted as a direct computation does them."""
    best_gflops: float
    """Of large products, in the same processes."""

    @property
    def share(self) -> float:
        """Of the best rate; above 1 where fewer operations are done than are counted."""
        return self.gflops / self.best_gflops


def measure_towers(checkpoint: Path) -> list[TowerSpeed]:
    """Measure both settings in every precision, in turns; not the plain modules in bf16 where they would take hours."""
    kinds: list[tuple[Kernels, Precision]] = [("off", "32"), ("on", "32"), ("off", "bf16"), ("on", "bf16")]
    if not computes_bf16():
        kinds.remove(("off", "bf16"))
    trials: dict[tuple[Kernels, Precision], list[dict[str, float]]] = {kind: [] for kind in kinds}
    for _ in range(ROUNDS):
        for kind in trials:
            trials[kind].append(_in_a_process(checkpoint, *kind))
    operations = tower_operations(checkpoint)
    speeds = []
    for (kernels, precision), found in trials.items():
        seconds, rate = min(one["seconds"] for one in found), max(one["best_gflops"] for one in found)
        speeds.append(TowerSpeed(kernels, precision, seconds, operations / seconds / 1e9, rate))
    return speeds


def tower_operations(checkpoint: Path) -> int:
    """Count the operations for a chunk of 30 s, multiplications and additions; nothing is computed."""
    with torch.device("meta"):
        return count_operations(build_network(checkpoint).audio_tower, CHUNK)


def _in_a_process(checkpoint: Path, kernels: Kernels, precision: Precision) -> dict[str, float]:
    command = [sys.executable, "-m", __spec__.name, str(checkpoint), kernels, precision]
    found: dict[str, float] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    return found


def main_tower() -> None:
    """Measure one setting and print its time and the machine's best rate."""
    checkpoint, kernels, precision = sys.argv[1:]
    kind = checked_precision(precision)
    tower = _tower(checkpoint, checked_kernels(kernels), kind)
    torch.manual_seed(0)
    chunk = 0.1 * torch.randn(1, CHUNK)
    rates = [best_rate(CPU, kind)]
    with arithmetic(kind, CPU):
        seconds = _seconds(lambda: tower(chunk))
    rates.append(best_rate(CPU, kind))
    sys.stdout.write(json.dumps({"seconds": seconds, "best_gflops": max(rates)}))


def _tower(checkpoint: str, kernels: Kernels, precision: Precision) -> Callable[[Tensor], Tensor]:
    network = load_cmi_rm(find_checkpoint(checkpoint)).network
    return PreparedNetwork(network, CPU, precision, kernels=kernels).audio_tower


def _seconds(work: Callable[[], object]) -> float:
    work()
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


if __name__ == "__main__":
    main_tower()
