"""SongEval's reward model: MuQ up to one of its hidden states, and a head from its frames to five ratings of a song.

The head: https://arxiv.org/abs/2505.10793; the public code is its definition.
"""

from collections.abc import Sequence
from copy import deepcopy
from functools import cached_property, partial
from pathlib import Path
from typing import Annotated, Any, ClassVar, cast

import torch
from pydantic import Field, field_validator
from torch import Tensor, nn

import cmi_bench
from cmi_bench.errors import NotFetchedError, UserError
from cmi_bench.models.batching import (
    audio_arithmetic,
    check_device,
    checked_precision,
    exact,
)
from cmi_bench.models.config_files import ConfigSection, Size, key_error, read_config_file
from cmi_bench.models.embedding import AudioRating
from cmi_bench.models.encoding import encode_waveforms, fit_of
from cmi_bench.models.hub import EITHER_WEIGHTS, ENCODER_CONFIG, WEIGHTS, CheckpointFiles, find_checkpoint, find_model
from cmi_bench.models.kernels.prepare import checked_kernels, prepare
from cmi_bench.models.muq.config import MuqConfig, read_muq_config
from cmi_bench.models.muq.encoder import TRAINING_ONLY, Muq
from cmi_bench.models.muq.mel import MIN_SAMPLES, SAMPLE_RATE
from cmi_bench.models.weights import load_strictly
from cmi_bench.utils.files import content_key

NOT_USED = ("*.num_batches_tracked", "model.recon_*", *(f"model.{name}" for name in TRAINING_ONLY))
"""Tensors of MuQ's file that encoding does not use."""


def load_muq(config: MuqConfig, weights: Path, hidden_state: int) -> Muq:
    """Return MuQ such that its output is a hidden state.

    Args:
        config: MuQ's sizes.
        weights: Its `model.safetensors`, all of which must be right, whatever of it is needed.
        hidden_state: 1 is the output of the first Conformer layer; that of the last one is normalised once more.

    Raises:
        UserError: A tensor is missing, unexpected or of another shape; or there is no such hidden state.
    """
    if not 1 <= hidden_state <= config.encoder_depth:
        raise UserError(
            f"hidden_state={hidden_state}, but the MuQ in {weights.parent} has {config.encoder_depth} layers.",
            f"Set model.hidden_state to 1 to {config.encoder_depth}.",
        )
    with torch.device("meta"):
        muq = Muq(config)
    load_strictly(muq, weights, name_in_file=lambda name: f"model.{name}", not_used=NOT_USED)
    if hidden_state < config.encoder_depth:
        muq.conformer.layers = muq.conformer.layers[:hidden_state]
        muq.conformer.layer_norm = cast(nn.LayerNorm, nn.Identity())
    return muq.eval()


RATINGS = ("coherence", "musicality", "memorability", "clarity", "naturalness")
HEADS = 8
"""Fixed in SongEval's code."""


class HeadConfig(ConfigSection):
    """Sizes of the head: `generator` in SongEval's `config.yaml`."""

    num_classes: int
    dim: Annotated[Size, Field(alias="in_features")]
    """Width of the frames."""
    hidden: Annotated[Size, Field(alias="ffd_hidden_size")]
    """Width inside the feed-forward."""
    attention_layers: Annotated[int, Field(alias="attn_layer_num")]

    @field_validator("num_classes")
    @classmethod
    def _check_num_classes(cls, count: int) -> int:
        if count != len(RATINGS):
            raise key_error(f"is {count}; expected {len(RATINGS)}.")
        return count

    @field_validator("dim")
    @classmethod
    def _check_dim(cls, dim: int) -> int:
        if dim % HEADS:
            raise key_error(f"is {dim}, which {HEADS} attention heads do not divide.")
        return dim


class _SongEvalFile(ConfigSection):
    generator: HeadConfig


def read_head_config(file: Path) -> HeadConfig:
    """Read SongEval's `config.yaml`; a missing or wrong key is a `UserError` that names it."""
    return read_config_file(file, _SongEvalFile).generator


class SongEvalHead(nn.Module):
    """A feed-forward over the frames, self-attention layers one after the other, pooling, a projection."""

    def __init__(self, config: HeadConfig) -> None:
        super().__init__()
        self.attn = nn.ModuleList(
            nn.MultiheadAttention(config.dim, HEADS, batch_first=True) for _ in range(config.attention_layers)
        )
        self.ffd = nn.Sequential(nn.Linear(config.dim, config.hidden), nn.ReLU(), nn.Linear(config.hidden, config.dim))
        self.fc = nn.Linear(2 * config.dim, len(RATINGS))

    def forward(self, frames: Tensor) -> Tensor:
        """Rate songs of one length, frames [batch, time, dim]: [batch, 5] from 1 to 5, in the order of `RATINGS`."""
        features = self.ffd(frames)
        attended = features
        for layer in self.attn:  # without residual connections, as it was trained
            attended, _ = layer(attended, attended, attended, need_weights=False)
        pooled = torch.cat((attended.mean(dim=1), features.amax(dim=1)), dim=1)
        return 2.0 * torch.tanh(self.fc(pooled)) + 3.0


REPOSITORY = "https://github.com/ASLP-lab/SongEval"
BATCH_SECONDS = 240
"""Audio encoded at once, at most, unless one song is longer."""


class SongEvalRM(AudioRating):
    """Five ratings of a song, 1 to 5, each song in one piece: the first `max_dur` seconds of it."""

    ratings: ClassVar[tuple[str, ...]] = RATINGS
    min_samples = MIN_SAMPLES

    def __init__(
        self,
        checkpoint: str,
        muq: str,
        hidden_state: int,
        dimension: str,
        device: str | torch.device = "cpu",
        precision: str = "32",
        kernels: str = "on",
    ) -> None:
        """Load the model.

        Args:
            checkpoint: A copy of SongEval's repository, or the weights' file, with `config.yaml` one folder up.
            muq: MuQ's folder or hub id.
            hidden_state: Which of MuQ's the head reads.
            dimension: Which rating is the musicality column, or "mean".
            device: Torch device.
            precision: "32", or "tf32" (on CUDA) or "bf16" for the products of MuQ.
            kernels: "off" computes with the plain modules.

        Raises:
            UserError: A file is missing or does not fit, or an option is not understood.
        """
        super().__init__(dimension, "dimension")
        self.precision = checked_precision(precision)
        self.kernels = checked_kernels(kernels)
        self.hidden_state = hidden_state
        files = find_songeval(checkpoint)
        encoder = find_model(muq, [ENCODER_CONFIG], weights=EITHER_WEIGHTS)
        self.files = (*files, encoder.folder / ENCODER_CONFIG, encoder.weights)
        sizes, muq_sizes = read_head_config(files.config), read_muq_config(encoder.folder / ENCODER_CONFIG)
        if sizes.dim != muq_sizes.encoder_dim:
            raise UserError(
                f"{files.config}: generator.in_features is {sizes.dim}, but the frames of {muq} are"
                f" {muq_sizes.encoder_dim} wide.",
                "Use the MuQ that the head was trained on.",
            )
        with torch.device("meta"):
            self._head = SongEvalHead(sizes).eval()
        load_strictly(self._head, files.weights)
        self._muq = load_muq(muq_sizes, encoder.weights, hidden_state)
        self.to(device)

    def to(self, device: str | torch.device) -> "SongEvalRM":
        """Move the network to a torch device."""
        self.device = torch.device(device)
        check_device(self.precision, self.device, fast_bf16=self.kernels == "on")
        self.__dict__.pop("encoder", None)
        self.head = deepcopy(self._head).to(self.device)
        self.fit = fit_of(self._muq, audio_arithmetic(self.precision), self.device)
        return self

    @cached_property
    def encoder(self) -> Muq:
        """MuQ on the device, made when it is first called for: stored ratings need none."""
        return prepare(self._muq, self.device, self.precision, self.kernels)

    @property
    def facts(self) -> dict[str, Any]:
        """How this process computed, for the run's metadata."""
        return {"kernels": self.kernels}

    @property
    def tensors(self) -> dict[str, Tensor]:
        """Those of the head and of the layers of MuQ that it needs."""
        parts = {"head": self._head, "muq": self._muq}
        return {f"{part}.{name}": one for part, network in parts.items() for name, one in network.state_dict().items()}

    @property
    def projections(self) -> dict[str, nn.Linear]:
        """The layer that gives the ratings."""
        return {"fc": self._head.fc}

    @property
    def sr(self) -> int:
        """Sampling rate in Hz of the waveforms the model takes."""
        return SAMPLE_RATE

    @cached_property
    def audio_identity(self) -> str:
        """What settles the ratings besides the audio and its view."""
        return content_key(
            model="songeval",
            files=self.digest,
            hidden_state=self.hidden_state,
            precision=audio_arithmetic(self.precision),
            code=cmi_bench.__version__,
        )

    def encode_waveforms(self, waveforms: Sequence[Tensor]) -> list[Tensor]:
        """Rate songs [samples], each by itself: of each float32 [1, 5] on the CPU."""
        at_once = max(1, BATCH_SECONDS * self.sr // max(map(len, waveforms)))
        rated = encode_waveforms(
            waveforms,
            partial(self._rate, self.encoder),
            device=self.device,
            precision=self.precision,
            batch_size=at_once,
            fit=self.fit,
            folder=self.digest_dir,
        )
        return [one.cpu() for one in rated]

    def _rate(self, encoder: Muq, songs: Tensor) -> Tensor:
        frames = encoder(songs).float()
        with exact(self.device):
            rated: Tensor = self.head(frames)
        return rated[:, None]


def find_songeval(checkpoint: str) -> CheckpointFiles:
    """Find the head's weights and its `config.yaml`.

    Args:
        checkpoint: The weights' file, its folder, or a folder that has it under `ckpt/`, as SongEval's repository.

    Raises:
        UserError: They are not there.
    """
    path = Path(checkpoint).expanduser()
    weights = next((one for one in (path, path / "ckpt" / WEIGHTS, path / WEIGHTS) if one.is_file()), None)
    if weights is None:
        raise NotFetchedError(
            f"SongEval's weights are not at {checkpoint}.", f"git clone {REPOSITORY}, and name the copy as checkpoint."
        )
    return find_checkpoint(str(weights))
