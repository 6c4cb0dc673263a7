"""CMI-RM's head: from the frames of a clip and the embedded prompt to the two scores."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from cmi_bench.models.cmi_rm.config import RewardConfig
from cmi_bench.models.cmi_rm.cross_attention import DecoderLayer
from cmi_bench.models.cmi_rm.downsample import build_downsampler
from cmi_bench.models.cmi_rm.sequences import Padded, join, pad
from cmi_bench.models.cmi_rm.transformer import Transformer


class Prompt(NamedTuple):
    """What was asked for, encoded; each [length, dim] without padding."""

    text: Tensor
    """Tokens of the prompt text."""
    lyrics: Tensor
    """Tokens of the lyrics."""
    ref_audio: Tensor | None = None
    """Frames of the reference; None where there is none."""


class Embedded(NamedTuple):
    """A clip and what was asked for, encoded."""

    audio: Tensor
    """Frames of the clip: [length, dim] without padding."""
    prompt: Prompt
    """One object for all clips that have it in common: it is looked at once."""


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

    def embed_prompts(self, prompts: Sequence[Prompt]) -> list[Tensor]:
        """Return what clips are judged by: text, lyrics, reference, for each prompt [length, dim]."""
        joined = [torch.cat(self._parts(prompt)) for prompt in prompts]
        embedded = self.prompt_transformer(*pad(joined))
        return [row[: len(prompt)] for row, prompt in zip(embedded, joined, strict=True)]

    def forward(self, clips: Sequence[Tensor], prompts: Sequence[Tensor]) -> Tensor:
        """Score clips; a clip's score does not depend on the others.

        Args:
            clips: Frames of each, [length, dim].
            prompts: Of `embed_prompts`, one for each clip.

        Returns:
            float32 [len(clips), 2]: column 0 alignment, column 1 musicality.
        """
        audio = [self.eval_downsampler(frames) for frames in clips]
        scores: Tensor = self.score_projector(self.embed_audio(audio, prompts))
        return scores.float()

    def embed_audio(self, audio: Sequence[Tensor], prompts: Sequence[Tensor]) -> Tensor:
        """Return the clips' audio [length, dim] in view of their prompts, averaged: [len(audio), dim]."""
        frames, asked = pad(audio), pad(prompts)
        if isinstance(self.joint_transformer, Transformer):
            # The transformer knows no order, so the frames may come first; of the prompt nothing is wanted.
            rows = self.joint_transformer(*join(frames, asked), first=frames.values.shape[1])
        else:
            rows = self._decode(frames, asked)
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
