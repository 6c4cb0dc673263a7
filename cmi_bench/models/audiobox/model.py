"""Audiobox Aesthetics behind the benchmark's contract."""

import warnings
from collections.abc import Sequence
from functools import cached_property
from typing import ClassVar

import torch
from torch import Tensor

import cmi_bench
from cmi_bench.content import content_key
from cmi_bench.models.audio_rating import AudioRating
from cmi_bench.models.audiobox.load import RATINGS, load_audiobox
from cmi_bench.models.audiobox.windows import AudioWindow, windows_of
from cmi_bench.models.cmi_rm.fast.transfer import to_device
from cmi_bench.models.cmi_rm.precision import arithmetic

SAMPLE_RATE = 16_000
"""Hz; fixed in the package, as is the window."""
WINDOW_SECONDS = 10
AT_ONCE = 16
"""Windows rated at once."""


class Audiobox(AudioRating):
    """Content enjoyment (CE) and usefulness (CU), production complexity (PC) and quality (PQ), about 1 to 10.

    A clip's rating is the mean over its windows, each counting by how much of it the clip fills.
    """

    ratings: ClassVar[tuple[str, ...]] = RATINGS
    chunk_seconds = float(WINDOW_SECONDS)

    def __init__(
        self,
        checkpoint: str,
        axis: str,
        device: str | torch.device = "cpu",
    ) -> None:
        """Load the model, which computes in float32 whatever is asked of it: the package switches autocast off.

        Args:
            checkpoint: Hub id, folder, or the package's `checkpoint.pt`.
            axis: Which rating is the musicality column: "CE", "CU", "PC", "PQ" or "mean".
            device: Torch device.

        Raises:
            UserError: The package or a file is missing or does not fit, or an option is not understood.
        """
        super().__init__(axis, "axis")
        self.loaded = load_audiobox(checkpoint)
        self.files = self.loaded.files
        self.to(device)

    def to(self, device: str | torch.device) -> "Audiobox":
        """Move the network to a torch device."""
        self.device = torch.device(device)
        self.network = self.loaded.network.to(self.device)
        return self

    @property
    def sr(self) -> int:
        """Sampling rate in Hz of the waveforms the model takes."""
        return SAMPLE_RATE

    @cached_property
    def audio_identity(self) -> str:
        """What settles the ratings besides the audio and its view."""
        return content_key(model="audiobox", files=self.digest, code=cmi_bench.__version__)

    def embed_heard(self, waveforms: Sequence[Tensor]) -> list[Tensor]:
        """Rate clips [samples]: of each float32 [1, 4] on the CPU."""
        cut = [windows_of(waveform, WINDOW_SECONDS * self.sr) for waveform in waveforms]
        windows = [window for clip in cut for window in clip]
        with arithmetic("32", self.device):
            rated = torch.cat([self._rate(windows[i : i + AT_ONCE]) for i in range(0, len(windows), AT_ONCE)])
        weights = torch.tensor([window.weight for window in windows])
        counts = [len(clip) for clip in cut]
        return [
            (weight[:, None] * ratings).sum(dim=0, keepdim=True) / weight.sum()
            for ratings, weight in zip(torch.split(rated, counts), torch.split(weights, counts), strict=True)
        ]

    def _rate(self, windows: Sequence[AudioWindow]) -> Tensor:
        batch = {
            "wav": to_device(torch.stack([window.samples for window in windows])[:, None], self.device),
            "mask": to_device(torch.stack([window.is_clip for window in windows])[:, None], self.device),
        }
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch, about the package's masks
            found = self.network(batch)
        outputs = torch.stack([found[axis] for axis in self.ratings], dim=1).float().cpu()
        return outputs * self.loaded.scale + self.loaded.mean
