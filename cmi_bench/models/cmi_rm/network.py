"""CMI-RM as one network: MuQ-MuLan's two towers and a head from their embeddings to the two scores.

Every sequence is downsampled by itself, without padding: what its end becomes depends on where it ends.
"""

import math
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cmi_bench.models.base import EmbeddedInput
from cmi_bench.models.batching import Padded, Precision, in_batches, join, near_batches_of, pad
from cmi_bench.models.cmi_rm.config import DownsampleConfig, RewardConfig
from cmi_bench.models.kernels.prepare import Kernels, prepare
from cmi_bench.models.muq.config import MulanConfig, MuqConfig
from cmi_bench.models.muq.towers import AudioTower, TextTower
from cmi_bench.models.muq.transformer import DecoderLayer, Transformer
from cmi_bench.models.static_batches import Compute, GraphRecorder, StaticBatches, unchanged


def trim(x: Tensor, factor: int) -> Tensor:
    """Cut a sequence [length, dim] to a multiple of `factor`."""
    return x[: len(x) // factor * factor]


def window_means(x: Tensor, factor: int) -> Tensor:
    """Average windows of `factor` positions: [length, dim] to [length // factor, dim]."""
    return trim(x, factor).view(len(x) // factor, factor, -1).mean(dim=1) if len(x) >= factor else x[:0]


class Mean(nn.Module):
    """The means of windows."""

    def __init__(self, factor: int) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        """Map [length, dim] to [length // factor, dim]."""
        return window_means(x, self.factor)


class MeanMlp(nn.Module):
    """The means of windows, through an MLP; or the means of what the MLP makes of each position."""

    def __init__(self, dim: int, config: DownsampleConfig) -> None:
        super().__init__()
        hidden = int(dim * config.mlp_ratio)
        self.factor = config.factor
        self.mlp_first = config.pre_mlp
        # Position 2 is where training has its dropout.
        self.mlp = nn.Sequential(nn.Linear(dim, hidden), nn.SiLU(), nn.Identity(), nn.Linear(hidden, dim))

    def forward(self, x: Tensor) -> Tensor:
        """Map [length, dim] to [length // factor, dim]."""
        shorter: Tensor = (
            window_means(self.mlp(x), self.factor) if self.mlp_first else self.mlp(window_means(x, self.factor))
        )
        return shorter


class ConvBlock(nn.Module):
    """Depthwise convolution with a stride, norm, SiLU; optionally gated by a pointwise convolution before it."""

    def __init__(self, dim: int, stride: int, config: DownsampleConfig, *, gated: bool = False) -> None:
        super().__init__()
        kernel = config.kernel_size
        self.stride = stride
        self.gated = gated
        if gated:
            self.pw1 = nn.Conv1d(dim, 2 * dim, 1, bias=False)
        self.dw = nn.Conv1d(dim, dim, kernel, stride=stride, padding=(kernel - 1) // 2, groups=dim, bias=False)
        self.ln = nn.LayerNorm(dim) if config.use_layernorm else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Map [length, dim] to [length // stride, dim]."""
        x = trim(x, self.stride)
        if not len(x):
            return x
        channels = x.transpose(0, 1)
        if self.gated:
            channels = F.glu(self.pw1(channels), dim=0)
        return F.silu(self.ln(self.dw(channels).transpose(0, 1)))


class Conv(nn.Module):
    """One block, applied `stage` times: its weights have a name for each."""

    def __init__(self, dim: int, config: DownsampleConfig) -> None:
        super().__init__()
        self.factor = config.factor
        self.blocks = nn.ModuleList([ConvBlock(dim, config.factor, config)] * config.stage)

    def forward(self, x: Tensor) -> Tensor:
        """Map [length, dim] to [length // factor // factor ..., dim], once for each stage."""
        if self.factor == 1:
            return x
        for block in self.blocks:
            x = block(x)
        return x


class TwoConv(nn.Module):
    """Two blocks whose strides multiply to the factor; with gates also a last pointwise convolution."""

    def __init__(self, dim: int, config: DownsampleConfig, *, gated: bool) -> None:
        super().__init__()
        first, second = two_strides(config.factor)
        self.factor = config.factor
        self.block1 = ConvBlock(dim, first, config, gated=gated)
        self.block2 = ConvBlock(dim, second, config, gated=gated)
        self.final_pw = nn.Conv1d(dim, dim, 1, bias=False) if gated else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Map [length, dim] to [length // stride 1 // stride 2, dim]."""
        if self.factor == 1:
            return x
        x = self.block2(self.block1(x))
        return self.final_pw(x.transpose(0, 1)).transpose(0, 1) if len(x) else x


def two_strides(factor: int) -> tuple[int, int]:
    """Split a factor into two strides, the larger as small as can be; a 3 comes first, else the smaller.

    >>> [two_strides(factor) for factor in (4, 5, 6, 8, 9)]
    [(2, 2), (1, 5), (3, 2), (2, 4), (3, 3)]
    """
    smaller = max(d for d in range(1, math.isqrt(factor) + 1) if factor % d == 0)
    larger = factor // smaller
    return (larger, smaller) if larger == 3 else (smaller, larger)


def build_downsampler(dim: int, config: DownsampleConfig) -> nn.Module:
    """Return the module [length, dim] -> [shorter, dim] that a configuration describes."""
    match config.kind:
        case "none":
            return nn.Identity()
        case "mean":
            return Mean(config.factor)
        case "mean+mlp":
            return MeanMlp(dim, config)
        case "conv":
            return Conv(dim, config)
        case "conv*2" | "gluconv*2+pw":
            return TwoConv(dim, config, gated=config.kind == "gluconv*2+pw")
    raise ValueError(f"Unknown kind of downsampler {config.kind!r}")


class Prompt(NamedTuple):
    """The instruction of a clip, encoded; each [length, dim] without padding."""

    text: Tensor
    """Tokens of the prompt text."""
    lyrics: Tensor
    """Tokens of the lyrics."""
    ref_audio: Tensor | None = None
    """Frames of the reference; None where there is none."""


class Embedded(NamedTuple):
    """A clip and its instruction, encoded."""

    audio: Tensor
    """Frames of the clip: [length, dim] without padding."""
    prompt: Prompt
    """One object for all clips that have it in common: it is encoded once."""


class Scorer(nn.Module):
    """Prompt transformer, joint transformer, projector."""

    def __init__(self, config: RewardConfig) -> None:
        super().__init__()
        dim = config.prompt_transformer.dim
        self.lyrics_in_prompt = config.prompt_mode != "text_only"
        self.eval_downsampler = build_downsampler(dim, config.downsampling.eval)
        self.ref_downsampler = build_downsampler(dim, config.downsampling.ref)
        self.text_downsampler = build_downsampler(dim, config.downsampling.text)
        self.lyrics_downsampler = build_downsampler(dim, config.downsampling.text)
        self.prompt_transformer = Transformer(config.prompt_transformer)
        joint = config.joint_transformer
        self.joint_transformer: nn.Module = (
            Transformer(joint)
            if config.attention_mode == "SA"
            else nn.ModuleList(DecoderLayer(joint) for _ in range(joint.depth))
        )
        self.score_projector = nn.Sequential(
            nn.LayerNorm(dim), nn.Linear(dim, config.mlp_dim), nn.ReLU(), nn.Linear(config.mlp_dim, config.output_dim)
        )

    def joined(self, prompt: Prompt) -> Tensor:
        """Return text, lyrics and reference, downsampled, one after the other: [length, dim]."""
        return torch.cat(self._parts(prompt))

    def embed_joined(self, prompts: Sequence[Tensor]) -> list[Tensor]:
        """Return what clips are judged by, of prompts that are `joined`: for each [length, dim]."""
        embedded = self.prompt_transformer(*pad(prompts))
        return [row[: len(prompt)] for row, prompt in zip(embedded, prompts, strict=True)]

    def forward(self, clips: Sequence[Tensor], prompts: Sequence[Tensor]) -> Tensor:
        """Score clips; a clip's score does not depend on the others.

        Args:
            clips: Frames of each, [length, dim].
            prompts: Of `embed_joined`, one for each clip.

        Returns:
            float32 [len(clips), 2]: column 0 alignment, column 1 musicality.
        """
        audio = [self.eval_downsampler(frames) for frames in clips]
        scores: Tensor = self.score_projector(self.embed_audio(audio, prompts))
        return scores.float()

    def embed_audio(self, audio: Sequence[Tensor], prompts: Sequence[Tensor]) -> Tensor:
        """Return the clips' audio [length, dim] in view of their prompts, averaged: [len(audio), dim]."""
        frames, prompt = pad(audio), pad(prompts)
        if isinstance(self.joint_transformer, Transformer):
            # The transformer knows no order, so the frames may come first; of the prompt nothing is wanted.
            rows = self.joint_transformer(*join(frames, prompt), first=frames.values.shape[1])
        else:
            rows = self._decode(frames, prompt)
        return torch.stack(
            [
                # A clip shorter than the downsampling factor has no positions; the sum of none is zero.
                row[: len(clip)].sum(dim=0) / max(len(clip), 1)
                for row, clip in zip(rows, audio, strict=True)
            ]
        )

    def _parts(self, prompt: Prompt) -> list[Tensor]:
        parts = [self.text_downsampler(prompt.text)]
        if self.lyrics_in_prompt:
            parts.append(self.lyrics_downsampler(prompt.lyrics))
        if prompt.ref_audio is not None:
            parts.append(self.ref_downsampler(prompt.ref_audio))
        return parts

    def _decode(self, audio: Padded, prompts: Padded) -> Tensor:
        rows = audio.values
        for layer in self.joint_transformer.children():
            rows = layer(rows, audio.valid, prompts.values, prompts.valid)
        return rows


class Network(nn.Module):
    """The three parts; each is called for itself, so that encodings can be shared and kept."""

    def __init__(self, reward: RewardConfig, mulan: MulanConfig, muq: MuqConfig, xlmr_config: Path) -> None:
        """Build the network; `xlmr_config` is XLM-RoBERTa's `config.json`."""
        super().__init__()
        self.audio_tower = AudioTower(mulan, muq)
        self.text_tower = TextTower(mulan, xlmr_config)
        self.scorer = Scorer(reward)


def windows_on(device: torch.device, clips: Sequence[EmbeddedInput]) -> list[Embedded]:
    """Return the windows of all clips on the device.

    A tensor that several clips have in common is moved once, and clips that have text, lyrics and reference in common
    get one `Prompt`.
    """
    moved: dict[int, Tensor] = {}
    prompts: dict[tuple[int, ...], Prompt] = {}

    def there(tensor: Tensor) -> Tensor:
        if id(tensor) not in moved:
            moved[id(tensor)] = tensor.to(device)
        return moved[id(tensor)]

    def prompt_of(clip: EmbeddedInput) -> Prompt:
        ref_audio = None if clip.ref_audio is None else there(clip.ref_audio)
        prompt = Prompt(there(clip.text), there(clip.lyrics), ref_audio)
        return prompts.setdefault(tuple(map(id, prompt)), prompt)

    return [Embedded(there(window), prompt_of(clip)) for clip in clips for window in clip.windows]


def judge(scorer: Scorer, clips: Sequence[Embedded], batch_size: int) -> Tensor:
    """Score clips, or windows of clips; no score depends on the others.

    Args:
        scorer: On the device that the clips are on.
        clips: At least one.
        batch_size: Prompts, and clips, computed at once, at most.

    Returns:
        float32 [len(clips), 2]: column 0 alignment, column 1 musicality.
    """
    padding = CPU_PADDING if clips[0].audio.device.type == "cpu" else GPU_PADDING
    prompts = list({id(clip.prompt): clip.prompt for clip in clips}.values())
    joined = [scorer.joined(prompt) for prompt in prompts]
    embedded = in_batches(
        near_batches_of([(len(prompt),) for prompt in joined], batch_size, padding=padding),
        lambda batch: scorer.embed_joined([joined[index] for index in batch]),
    )
    prompt_tokens = {id(prompt): tokens for prompt, tokens in zip(prompts, embedded, strict=True)}
    tokens = [prompt_tokens[id(clip.prompt)] for clip in clips]
    scores = in_batches(
        near_batches_of(
            [(len(clip.audio), len(one)) for clip, one in zip(clips, tokens, strict=True)], batch_size, padding=padding
        ),
        lambda batch: scorer([clips[index].audio for index in batch], [tokens[index] for index in batch]),
    )
    return torch.stack(scores)


CPU_PADDING, GPU_PADDING = 0.0, 0.1
"""Share that padding may add: a CPU computes one clip as fast as several, a GPU is faster with larger batches."""


def compiled(tower: AudioTower, samples: int, device: torch.device, *, backend: str = "inductor") -> Compute:
    """Compile an audio tower for chunks of one length, in batches of any size.

    Args:
        tower: On the device.
        samples: The length; other chunks go through the tower as it is.
        device: On CUDA batches of each size are recorded as a graph as well.
        backend: Of torch.compile.
    """
    encode_mel = torch.compile(tower.encode_mel, fullgraph=True, backend=backend)

    def encode(mel: Tensor) -> Tensor:
        torch._dynamo.maybe_mark_dynamic(mel, 0)
        frames: Tensor = encode_mel(mel)
        return frames

    fixed = GraphRecorder(device) if device.type == "cuda" else unchanged
    batches = StaticBatches(tower.encode_mel, encode, length=tower.muq.mel.frames(samples), fixed=fixed)
    # The spectrogram is a handful of the library's own kernels, in complex numbers, which the compiler leaves alone.
    return lambda chunks: batches(tower.muq.mel(chunks))


class PreparedNetwork:
    """The network on a device.

    A run whose embeddings are all in the cache makes the scorer only.
    """

    def __init__(
        self,
        network: Network,
        device: torch.device,
        precision: Precision,
        *,
        kernels: Kernels = "on",
        compiled_samples: int | None = None,
    ) -> None:
        """Take the loaded network, which stays on the CPU and as it is.

        Args:
            network: The network.
            device: Where it is to compute.
            precision: Of the audio tower; the rest computes in float32.
            kernels: "off" for the plain modules.
            compiled_samples: Length of the chunks that the audio tower is compiled for; None compiles nothing.
        """
        self._network = network
        self._device = device
        self._precision = precision
        self._kernels = kernels
        self._compiled_samples = compiled_samples

    @cached_property
    def audio_tower(self) -> Compute:
        """Waveform chunks [batch, samples] to frames [batch, time, dim]."""
        tower = prepare(self._network.audio_tower, self._device, self._precision, self._kernels)
        return tower if self._compiled_samples is None else compiled(tower, self._compiled_samples, self._device)

    @cached_property
    def text_tower(self) -> TextTower:
        """Token ids to token embeddings."""
        return prepare(self._network.text_tower, self._device, "32", self._kernels)

    @cached_property
    def scorer(self) -> Scorer:
        """Embeddings to scores."""
        return prepare(self._network.scorer, self._device, "32", self._kernels)
