"""Audiobox Aesthetics (https://arxiv.org/abs/2502.05139): four ratings of any audio, by the package's own network.

Weights are read strictly: the hub's files, or the package's own `checkpoint.pt`.
"""

import pickle
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import cmi_bench
from cmi_bench.errors import UserError
from cmi_bench.models.batching import arithmetic
from cmi_bench.models.config_files import read_mapping
from cmi_bench.models.embedding import AudioRating
from cmi_bench.models.hub import EITHER_WEIGHTS, ENCODER_CONFIG, find_model
from cmi_bench.models.transfers import upload
from cmi_bench.models.weights import WHOLE, load_strictly, refuse
from cmi_bench.utils.files import content_key
from cmi_bench.utils.installation import install_command

RATINGS = ("CE", "CU", "PC", "PQ")


@dataclass(frozen=True)
class LoadedAudiobox:
    """The network, and what turns its output into ratings."""

    network: nn.Module
    """The package's `AesMultiOutput`, on the CPU, in float32, every tensor from the file."""
    mean: Tensor
    """float32 [4]: what is added to the network's outputs, in the order of `RATINGS`, ..."""
    scale: Tensor
    """... after they are multiplied by this."""
    files: tuple[Path, ...]
    """Whatever makes the ratings what they are."""


def load_audiobox(checkpoint: str) -> LoadedAudiobox:
    """Read the model.

    Args:
        checkpoint: A `.pt` file of the package, or a folder or hub id with `config.json` and `model.safetensors`.

    Raises:
        UserError: The package is not installed, a file is missing, or a tensor or key is missing or wrong.
    """
    path = Path(checkpoint).expanduser()
    if path.is_file() and path.suffix == ".pt":
        return _from_pt(path)
    found = find_model(checkpoint, [ENCODER_CONFIG], weights=EITHER_WEIGHTS)
    config = found.folder / ENCODER_CONFIG
    values = read_mapping(config)
    network = _build(values, config)
    load_strictly(network, found.weights)
    return _loaded(network, values, (found.weights, config))


def _from_pt(file: Path) -> LoadedAudiobox:
    try:
        content = torch.load(file, map_location="cpu", weights_only=True)
        values = dict(content["model_cfg"]) | {"target_transform": content["target_transform"]}
        tensors = {name.removeprefix("model."): tensor for name, tensor in content["state_dict"].items()}
    except (OSError, RuntimeError, pickle.UnpicklingError, KeyError, TypeError, ValueError, AttributeError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise UserError(
            f"{file} is no checkpoint of audiobox_aesthetics that is safe to read: {reason}",
            "Give a folder with config.json and model.safetensors, or the hub id facebook/audiobox-aesthetics.",
        ) from error
    network = _build(values, file)
    wanted = network.state_dict()
    refuse("missing", wanted.keys() - tensors.keys(), [file], WHOLE)
    refuse(
        "unexpected", tensors.keys() - wanted.keys(), [file], "Do the configuration and the weights belong together?"
    )
    refuse("misshapen", (name for name in wanted if wanted[name].shape != tensors[name].shape), [file], WHOLE)
    network.load_state_dict(tensors)
    return _loaded(network.float().requires_grad_(False), values, (file,))


def _build(values: Mapping[str, Any], named_in: Path) -> nn.Module:
    """Build the network; keys of the configuration that the package does not know are passed over, as there."""
    try:
        from audiobox_aesthetics.model.aes import AesMultiOutput
    except ImportError as error:
        raise UserError(
            f"model=audiobox needs the package audiobox_aesthetics: {error}", install_command("audiobox")
        ) from error
    known = {field.name for field in fields(AesMultiOutput)}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch, about the package's weight_norm
            network: nn.Module = AesMultiOutput(**{key: value for key, value in values.items() if key in known})
            return network
    except (TypeError, ValueError, KeyError) as error:
        raise UserError(f"{named_in} does not describe Audiobox Aesthetics: {error}", "Get the file again.") from error


def _loaded(network: nn.Module, values: Mapping[str, Any], files: tuple[Path, ...]) -> LoadedAudiobox:
    try:
        mean, scale = (
            torch.tensor([float(values["target_transform"][axis][key]) for axis in RATINGS]) for key in ("mean", "std")
        )
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{files[-1]} has no readable target_transform: {error!r}", "Get the file again.") from error
    return LoadedAudiobox(network.eval(), mean, scale, files)


class AudioWindow(NamedTuple):
    """A piece of a clip, filled up with silence."""

    samples: Tensor
    """float32 [size]."""
    is_clip: Tensor
    """bool [size], False for what is filled up."""
    weight: float
    """Share of it that is filled by the clip."""


def windows_of(waveform: Tensor, size: int) -> list[AudioWindow]:
    """Cut a waveform [samples] into windows of `size` samples, without overlap, as the package's own predictor does."""
    return [_filled_up(piece, size) for piece in torch.split(waveform, size)]


def _filled_up(piece: Tensor, size: int) -> AudioWindow:
    lacking = (0, size - len(piece))
    return AudioWindow(
        F.pad(piece, lacking), F.pad(torch.ones_like(piece, dtype=torch.bool), lacking), len(piece) / size
    )


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
        """Load the model, which always computes in float32: the package switches autocast off.

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
    def tensors(self) -> dict[str, Tensor]:
        """The network's, and what its output is scaled by."""
        return {**self.loaded.network.state_dict(), "mean": self.loaded.mean, "scale": self.loaded.scale}

    @property
    def sr(self) -> int:
        """Sampling rate in Hz of the waveforms the model takes."""
        return SAMPLE_RATE

    @cached_property
    def audio_identity(self) -> str:
        """What settles the ratings besides the audio and its view."""
        return content_key(model="audiobox", files=self.digest, code=cmi_bench.__version__)

    def encode_waveforms(self, waveforms: Sequence[Tensor]) -> list[Tensor]:
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
            "wav": upload([window.samples for window in windows], self.device)[:, None],
            "mask": upload([window.is_clip for window in windows], self.device)[:, None],
        }
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch, about the package's masks
            found = self.network(batch)
        outputs = torch.stack([found[axis] for axis in self.ratings], dim=1).float().cpu()
        return outputs * self.loaded.scale + self.loaded.mean
