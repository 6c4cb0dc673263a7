"""The two sides of `benchmarks.against_public`: a process that loads one of the two and scores what it is asked to.

`python -m benchmarks.sides public|ours SETTINGS` runs in the interpreter of that side, which needs to have nothing of
the other: the module imports Python's own library only, and the rest when it is needed. Both are measured by the same
lines. It is asked, and answers, as `benchmarks.turns` says.
"""

import importlib
import json
import os
import resource
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

PUBLIC = "baselines.inference"
"""The public repository's module for use from elsewhere."""
PUBLIC_MODULES = (PUBLIC, "muq.muq_mulan.muq_mulan")
"""What has to be importable there; the second one's folder is put on the path by the first."""

Item = dict[str, Any]
"""One clip: "audio", "text", "lyrics", and "ref_audio" or None; audio as a path, of `.npy` files the waveform."""
Score = Callable[[list[Item], int, float], list[list[float]]]
"""Maps clips, batch size and seconds of each to [alignment, musicality] of each."""


def main() -> None:
    """Load the side, say so, and answer until stdin ends."""
    side, settings = sys.argv[1], json.loads(sys.argv[2])
    # What libraries print must not get between the answers.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def answer(**content: Any) -> None:
        answers.write(json.dumps(content) + "\n")
        answers.flush()

    try:
        started = time.perf_counter()
        score, facts = SIDES[side](settings)
        answer(load_seconds=time.perf_counter() - started, **facts)
        for line in sys.stdin:
            answer(**measured(score, settings["device"], **json.loads(line)))
    except ModuleNotFoundError as error:
        traceback.print_exc()
        answer(error=f"{sys.executable} has no module {error.name!r}.", hint=settings.get("hint", ""))
    except Exception as error:  # for people it is told by the process that asked
        traceback.print_exc()
        answer(error=f"{type(error).__name__}: {error}")


def measured(score: Score, device: str, *, items: list[Item], batch_size: int, max_dur: float) -> dict[str, Any]:
    """Score clips: their scores, and what it took."""
    for item in items:
        item |= {key: _waveform(item[key]) for key in ("audio", "ref_audio")}
    on_cuda = device.startswith("cuda")
    _forget_peak(device if on_cuda else None)
    clock, processor = time.perf_counter(), time.process_time()
    scores = score(items, batch_size, max_dur)
    return {
        "scores": scores,
        "seconds": time.perf_counter() - clock,
        "processor_seconds": time.process_time() - processor,
        "processor_seconds_since_start": time.process_time(),
        "memory_gb": _peak_gb(),
        "device_gb": _device_peak_gb(device) if on_cuda else None,
    }


def _waveform(audio: str | None) -> Any:
    if audio is None or not audio.endswith(".npy"):
        return audio
    import numpy
    import torch

    return torch.from_numpy(numpy.load(audio))


def _forget_peak(device: str | None) -> None:
    """Let the peak of memory begin anew, where the system can; elsewhere it is the process's so far."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    if device is not None:
        import torch

        torch.cuda.reset_peak_memory_stats(device)


def _peak_gb() -> float:
    """Return the peak of memory in 10^9 bytes, pages of mapped files that it has touched included."""
    with suppress(OSError):
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) * 1024 / 1e9
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e9 if sys.platform == "darwin" else peak * 1024 / 1e9


def _device_peak_gb(device: str) -> float:
    import torch

    return float(torch.cuda.max_memory_allocated(device)) / 1e9


def load_public(settings: dict[str, Any]) -> tuple[Score, dict[str, Any]]:
    """Load the public code's model, in the arithmetic that ours computes in.

    Returns:
        What scores, and facts: the names of the tensors that the checkpoint has and the model has not, and the other
        way round. The public code passes over both.
    """
    module = _public_module(settings)
    import torch
    from safetensors import safe_open

    if settings["precision"] != "bf16":  # torch's own choice on CUDA is TensorFloat-32 in convolutions only
        torch.backends.cudnn.allow_tf32 = settings["precision"] == "tf32"
        torch.set_float32_matmul_precision("high" if settings["precision"] == "tf32" else "highest")

    checkpoint = settings["checkpoint"]
    model = module.RewardModelInference(
        str(Path(checkpoint, "model.safetensors")),
        config=str(Path(checkpoint, "config.yaml")),
        device=settings["device"],
        bf16=settings["precision"] == "bf16",
    )
    with safe_open(Path(checkpoint, "model.safetensors"), "pt") as file:
        stored = set(file.keys())
    wanted = set(model.model.state_dict())

    def score(items: list[Item], batch_size: int, max_dur: float) -> list[list[float]]:
        return model.score_batch(items, batch_size=batch_size, max_dur=max_dur).tolist()  # type: ignore[no-any-return]

    return score, {"not_filled": sorted(wanted - stored), "not_taken": sorted(stored - wanted)}


def check_public(settings: dict[str, Any]) -> tuple[Score, dict[str, Any]]:
    """Import the public code and decode a file with it: "cannot_decode" says why it cannot."""
    module = _public_module(settings)
    for name in PUBLIC_MODULES:
        importlib.import_module(name)
    why = ""
    try:
        module.load_audio(settings["probe"])
    except Exception as error:  # any reason is one to decode for it
        why = str(error).strip().splitlines()[0]
    return _nothing, {"cannot_decode": why}


def _nothing(items: list[Item], batch_size: int, max_dur: float) -> list[list[float]]:
    del items, batch_size, max_dur
    return []


def _public_module(settings: dict[str, Any]) -> Any:
    sys.path.insert(0, settings["repository"])
    return importlib.import_module(PUBLIC)


def load_ours(settings: dict[str, Any]) -> tuple[Score, dict[str, Any]]:
    """Load `CmiRM`, as one does who uses it from Python."""
    from cmi_bench.models.base import BenchmarkBatchInput
    from cmi_bench.models.cmi_rm import CmiRM

    model = CmiRM(
        settings["checkpoint"],
        device=settings["device"],
        precision=settings["precision"],
        compile=settings["compile"],
    )

    def score(items: list[Item], batch_size: int, max_dur: float) -> list[list[float]]:
        clips = [BenchmarkBatchInput(**item) for item in items]
        return model.score_batch(clips, batch_size, max_dur).tolist()  # type: ignore[no-any-return]

    return score, model.facts


SIDES = {"public": load_public, "check": check_public, "ours": load_ours}


if __name__ == "__main__":
    main()
