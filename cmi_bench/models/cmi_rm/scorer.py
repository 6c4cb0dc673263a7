"""CMI-RM's head: from the frames of a clip and the embedded prompt to the two scores."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from cmi_bench.models.cmi_rm.config import RewardConfig
from cmi_bench.models.cmi_rm.cross_attention import DecoderLayer
from cmi_bench.models.cmi_rm.downsample import build_downsampler
from cmi_bench.models.cmi_rm.sequences import Padded, pad
from cmi_bench.models.cmi_rm.transformer import Transformer


class Embedded(NamedTuple):
    """A clip and what was asked for, encoded; each [length, dim] without padding."""

    audio: Tensor
    """Frames of the clip."""
    text: Tensor
    """Tokens of the prompt text."""
    lyrics: Tensor
    """Tokens of the lyrics."""
    ref_audio: Tensor | None = None
    """Frames of the reference; None where there is none."""


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

    def forward(self, clips: Sequence[Embedded]) -> Tensor:
        """Score clips; a clip's score does not depend on the others.

        Returns:
            float32 [len(clips), 2]: column 0 alignment, column 1 musicality.
        """
        audio = [self.eval_downsampler(clip.audio) for clip in clips]
        prompts = self.embed_prompts(clips)
        scores: Tensor = self.score_projector(self.embed_audio(audio, prompts))
        return scores.float()

    def embed_prompts(self, clips: Sequence[Embedded]) -> list[Tensor]:
        """Return what the clips are judged by: text, lyrics, reference, each prompt [length, dim]."""
        prompts = [torch.cat(self._prompt_parts(clip)) for clip in clips]
        padded = pad(prompts)
        embedded = self.prompt_transformer(*padded)
        return [row[: len(prompt)] for row, prompt in zip(embedded, prompts, strict=True)]

    def embed_audio(self, audio: Sequence[Tensor], prompts: Sequence[Tensor]) -> Tensor:
        """Return the clips' audio [length, dim] in view of their prompts, averaged: [len(audio), dim]."""
        if isinstance(self.joint_transformer, Transformer):
            rows = self.joint_transformer(*pad([torch.cat(pair) for pair in zip(prompts, audio, strict=True)]))
            starts = [len(prompt) for prompt in prompts]
        else:
            rows = self._decode(pad(audio), pad(prompts))
            starts = [0] * len(audio)
        return torch.stack(
            [
                # A clip shorter than the downsampling factor has no positions; the sum of none is zero.
                row[start : start + len(frames)].sum(dim=0) / max(len(frames), 1)
                for row, start, frames in zip(rows, starts, audio, strict=True)
            ]
        )

    def _prompt_parts(self, clip: Embedded) -> list[Tensor]:
        parts = [self.text_downsampler(clip.text)]
        if self.lyrics_in_prompt:
            parts.append(self.lyrics_downsampler(clip.lyrics))
        if clip.ref_audio is not None:
            parts.append(self.ref_downsampler(clip.ref_audio))
        return parts

    def _decode(self, audio: Padded, prompts: Padded) -> Tensor:
        rows = audio.values
        for layer in self.joint_transformer.children():
            rows = layer(rows, audio.valid, prompts.values, prompts.valid)
        return rows
