"""How much a device computes at once: what it has memory for, found by trying, halved where it ends, and remembered."""

import gc
import json
import logging
from pathlib import Path

import torch

from cmi_bench.utils.files import content_key, write_text_atomic

log = logging.getLogger(__name__)

NO_MEMORY = (
    *("out of memory", "can't allocate memory", "not enough memory", "_alloc_failed"),
    *("cublas_status_not_initialized", "cudnn_status_not_initialized", "unable to find an engine"),
)
"""How libraries say it whose error has no class of its own: CUDA's allocator in some places, cuBLAS, cuDNN and cuFFT
as a status, or as one about their own beginning, for which they need memory; PyTorch where each of cuDNN's ways to
convolve needed more; the CPU's allocator always."""
FIRST_SAMPLES = 8 * 30 * 24_000
"""Eight chunks of 30 s: enough work for a large GPU; of the full-size network 3 GB in bfloat16, 6 GB in float32."""
GAIN = 1.05
"""A batch twice as large is worth its memory if it is at least this much faster."""


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an error, or what led to it, says that the device's memory, or the machine's, was not enough.

    What led to it: a CUDA graph whose recording ends early may complain about that.
    """
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    if isinstance(error, RuntimeError) and any(words in str(error).lower() for words in NO_MEMORY):
        return True
    earlier = error.__cause__ or error.__context__
    return earlier is not None and is_out_of_memory(earlier)


def release_memory() -> None:
    """Give back what the GPUs' allocator keeps for later, so that a smaller batch finds it in one piece.

    To be called outside of the handler of an error: its traceback keeps the tensors of the failed attempt.
    """
    if torch.cuda.is_initialized():
        gc.collect()  # what errors have left behind in cycles
        torch.cuda.empty_cache()


def is_gpu_lost(error: RuntimeError) -> bool:
    """Tell whether a GPU computes nothing more in this process, as after an access to memory that is not its own.

    CUDA says so by an error in answer to every call.
    """
    if not torch.cuda.is_initialized() or is_out_of_memory(error):
        return False
    in_use = [index for index in range(torch.cuda.device_count()) if torch.cuda.memory_reserved(index)]
    try:
        for index in in_use:
            torch.cuda.synchronize(index)
    except RuntimeError:
        return True
    return False


class BatchFit:
    """How many samples of audio an encoder is given at once on a device.

    It begins with what an earlier run found. Otherwise it doubles while batches twice as large are faster, as far as
    callers offer so many; where memory ends, it halves what did not fit and stays there.
    """

    def __init__(self, encoder: str, device: torch.device, *, first: int = FIRST_SAMPLES) -> None:
        """Take what it is about.

        Args:
            encoder: What computes, in a name that only encoders with equal needs of memory share.
            device: Where.
            first: Samples to begin with.
        """
        self.encoder = encoder
        self.device = device
        self.most = first
        """Samples in a batch, at most; a single piece may be longer."""
        self.largest = 0
        """Samples of the largest batch so far."""
        self._is_settled = False
        self._is_kept = False
        self._folder: Path | None = None
        self._best: tuple[float, int] | None = None
        self._warm = 0

    def keep_in(self, folder: Path | None) -> None:
        """Begin with what is kept in a folder of this encoder and device, and keep there what is found; None: nowhere.

        What cannot be read is as none.
        """
        if folder is None or folder == self._folder:
            return
        self._folder = folder
        try:
            self.most = int(json.loads(self._file(folder).read_text("utf-8"))["samples"])
            self._is_settled = self._is_kept = True
        except (OSError, ValueError, KeyError, TypeError):
            return

    def count(self, length: int, most: int) -> int:
        """Return how many pieces of a length go into a batch, at least one and at most `most`."""
        return max(1, min(most, self.most // max(length, 1)))

    def is_trial(self, samples: int) -> bool:
        """Tell whether the time of a batch of so many samples is wanted."""
        return not self._is_settled and 2 * samples > self.most

    def took(self, samples: int, seconds: float) -> None:
        """Learn from a batch that fitted; the first of a size is slower, and its time does not count."""
        self.largest = max(self.largest, samples)
        if self.is_trial(samples):
            self._learn(samples / seconds)
        if self._is_settled:
            self._keep()

    def _learn(self, rate: float) -> None:
        if self._warm < self.most:
            self._warm = self.most
        elif self._best is not None and rate < GAIN * self._best[0]:
            self.most, self._is_settled = self._best[1], True
        else:
            self._best = rate, self.most
            self.most *= 2

    def too_large(self, samples: int) -> None:
        """Take no more at once, from now on, than half of what did not fit; it is kept once a smaller batch did."""
        release_memory()
        self.most, self._is_settled, self._is_kept = samples // 2, True, False
        log.warning(
            "%s: %d samples together did not fit into the memory of %s; from now on at most %d.",
            self.encoder, samples, self.device, self.most,
        )  # fmt: skip

    def _keep(self) -> None:
        if self._folder is None or self._is_kept:
            return
        self._is_kept = True
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            found = {"samples": self.most, "encoder": self.encoder, "device": self._device_name()}
            write_text_atomic(self._file(self._folder), json.dumps(found) + "\n")
        except OSError as error:  # it is found again by the next run
            log.warning("The batch size that fits is not kept: %s", error)

    def _file(self, folder: Path) -> Path:
        return folder / f"batch_{content_key(encoder=self.encoder, device=self._device_name())}.json"

    def _device_name(self) -> str:
        if self.device.type != "cuda":
            return self.device.type
        facts = torch.cuda.get_device_properties(self.device)
        return f"{facts.name}, {facts.total_memory} bytes"
