"""Whether a model tells clips apart: some clips are embedded and scored, and checked for signs of collapse."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from cmi_bench.audio.decode import decode
from cmi_bench.evaluation.collapse import CollapseCheck, Layer, check_collapse
from cmi_bench.models.base import (
    COLUMN_OF,
    BenchmarkModelABC,
    EmbeddedInput,
    EmbeddingModel,
)
from cmi_bench.scoring.model_call import checked_scores
from cmi_bench.scoring.stages import InputLoader
from cmi_bench.types import Clip

Scores = npt.NDArray[np.float64]


def check_model_collapse(
    model: BenchmarkModelABC,
    clips: Sequence[Clip],
    *,
    max_dur: float,
    scores: Scores | None = None,
    score_kwargs: Mapping[str, Any] | None = None,
) -> CollapseCheck:
    """Check a model on clips of different audio.

    Args:
        model: On its device.
        clips: Each with other audio than the others; their references are left out.
        max_dur: Seconds of each clip that are used.
        scores: What the model gives the clips [n, 2], where that is known already.
        score_kwargs: Passed on to `score_batch`.

    Raises:
        Exception: Whatever decoding or the model raises.
    """
    with torch.inference_mode():
        embeddings: dict[str, list[Tensor]] = {}
        if isinstance(model, EmbeddingModel):
            windows = _windows(model, clips, max_dur)
            texts = list(dict.fromkeys(clip.text for clip in clips if clip.text.strip()))
            tokens = dict(zip(texts, model.embed_texts(texts) if texts else [], strict=True))
            embeddings = {
                "audio": [torch.cat(list(one)).mean(dim=0) for one in windows],
                "text": [one.mean(dim=0) for one in tokens.values() if one.numel()],
            }
            if scores is None:
                empty = model.embed_texts([""])[0]
                scores = _checked(
                    model,
                    model.score_embedded(
                        [
                            EmbeddedInput(one, tokens.get(clip.text, empty), empty, None)
                            for clip, one in zip(clips, windows, strict=True)
                        ]
                    ),
                    clips,
                )
        elif scores is None:
            load = InputLoader(model.audio_input, int(model.sr), max_dur)
            inputs = [load.input_of(replace(clip, ref_audio=None)) for clip in clips]
            scores = _checked(model, model.score_batch(inputs, len(inputs), max_dur, **(score_kwargs or {})), clips)
    return check_collapse(
        {aspect.value: scores[:, column] for aspect, column in COLUMN_OF.items()},
        {kind: np.stack([one.double().cpu().numpy() for one in found]) for kind, found in embeddings.items() if found},
        projection_layers(model),
        is_common_space=isinstance(model, EmbeddingModel) and model.is_common_space,
    )


def _checked(model: BenchmarkModelABC, answer: Any, clips: Sequence[Clip]) -> Scores:
    return checked_scores(answer, len(clips), model.class_name)


def _windows(model: EmbeddingModel, clips: Sequence[Clip], max_dur: float) -> list[list[Tensor]]:
    seconds = model.audio_view(max_dur, is_reference=False).seconds
    waveforms = [decode(Path(clip.audio), int(model.sr), seconds) for clip in clips]
    return model.embed_audio(waveforms, max_dur, is_reference=False)


def projection_layers(model: BenchmarkModelABC) -> dict[str, Layer]:
    """Return a model's projections: those that it names, or the linear layers of its modules named so."""
    named = dict(model.projections)
    if not named:
        own = model.implementation
        modules = {name: one for name, one in vars(own).items() if isinstance(one, nn.Module)}
        if isinstance(own, nn.Module):
            modules |= dict(own.named_children())
        named = {
            f"{attribute}.{name}".rstrip("."): layer
            for attribute, module in modules.items()
            for name, layer in module.named_modules()
            if isinstance(layer, nn.Linear) and "projection" in f"{attribute}.{name}"
        }
    return {name: Layer(_numbers(one.weight), _numbers(one.bias)) for name, one in named.items()}


def _numbers(tensor: Tensor | None) -> Any:
    return None if tensor is None else tensor.detach().float().cpu().numpy()
