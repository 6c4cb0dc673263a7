"""Scores from embeddings: each prompt is embedded once for all clips that are judged by it."""

from collections.abc import Sequence

import torch
from torch import Tensor

from cmi_bench.models.cmi_rm.scorer import Embedded, Prompt, Scorer
from cmi_bench.models.cmi_rm.sequences import batches_of, in_batches
from cmi_bench.models.contract import EmbeddedInput


def windows_on(device: torch.device, clips: Sequence[EmbeddedInput]) -> list[Embedded]:
    """Return the windows of all clips on the device.

    A tensor that several clips have in common is moved once, and clips that have text, lyrics and reference in common
    get one `Prompt`.
    """
    moved: dict[int, Tensor] = {}
    prompts: dict[tuple[int, ...], Prompt] = {}

    def there(tensor: Tensor) -> Tensor:
        return moved.setdefault(id(tensor), tensor.to(device))

    def prompt_of(clip: EmbeddedInput) -> Prompt:
        ref_audio = None if clip.ref_audio is None else there(clip.ref_audio)
        prompt = Prompt(there(clip.text), there(clip.lyrics), ref_audio)
        return prompts.setdefault(tuple(map(id, prompt)), prompt)

    return [Embedded(window.to(device), prompt_of(clip)) for clip in clips for window in clip.windows]


def judge(scorer: Scorer, clips: Sequence[Embedded], batch_size: int) -> Tensor:
    """Score clips, or windows of clips; no score depends on the others.

    Args:
        scorer: On the device that the clips are on.
        clips: At least one.
        batch_size: Prompts, and clips, computed at once; near lengths together.

    Returns:
        float32 [len(clips), 2]: column 0 alignment, column 1 musicality.
    """
    prompts = list({id(clip.prompt): clip.prompt for clip in clips}.values())
    embedded = in_batches(
        batches_of([_length(prompt) for prompt in prompts], batch_size),
        lambda batch: scorer.embed_prompts([prompts[index] for index in batch]),
    )
    asked = {id(prompt): tokens for prompt, tokens in zip(prompts, embedded, strict=True)}
    scores = in_batches(
        batches_of([len(clip.audio) for clip in clips], batch_size),
        lambda batch: scorer(
            [clips[index].audio for index in batch], [asked[id(clips[index].prompt)] for index in batch]
        ),
    )
    return torch.stack(scores)


def _length(prompt: Prompt) -> int:
    return sum(len(part) for part in prompt if part is not None)
