"""Models that embed: the way over the embeddings, which the benchmark takes, leads to the same scores."""

from pathlib import Path

from torch import Tensor

from cmi_bench.audio.decode import decode
from cmi_bench.conformance.finding import SkippedCheckError
from cmi_bench.conformance.probes import MAX_DUR
from cmi_bench.conformance.subject import Subject
from cmi_bench.inference.answers import checked_scores
from cmi_bench.models.contract import EmbeddedInput, EmbeddingModel


def embeddings(subject: Subject) -> str:
    """Clips embedded together, then scored from the embeddings, have the scores that they have alone."""
    model = subject.model
    if not isinstance(model, EmbeddingModel):
        raise SkippedCheckError("It gives no embeddings.")
    probes = subject.answered((*subject.probes.plain, *subject.probes.referring))
    inputs = subject.inputs(probes, form="path")
    audio = _windows(model, [str(one.audio) for one in inputs], is_reference=False)
    references = _windows(model, [str(one.ref_audio) for one in inputs if one.ref_audio], is_reference=True)
    texts = iter(model.embed_texts([text for one in inputs for text in (one.text, one.lyrics)]))
    clips = [
        EmbeddedInput(
            windows=audio[str(one.audio)],
            text=next(texts),
            lyrics=next(texts),
            ref_audio=references[str(one.ref_audio)][0] if one.ref_audio else None,
        )
        for one in inputs
    ]
    scores = checked_scores(model.score_embedded(clips), len(clips), type(model).__name__)
    return subject.compare(scores, subject.alone(probes), probes)


def _windows(model: EmbeddingModel, paths: list[str], *, is_reference: bool) -> dict[str, list[Tensor]]:
    """Embed files, each once, all of them at the same time."""
    seconds = model.audio_view(MAX_DUR, is_reference=is_reference).seconds
    unique = list(dict.fromkeys(paths))
    waveforms = [decode(Path(path), int(model.sr), seconds) for path in unique]
    windows = model.embed_audio(waveforms, MAX_DUR, is_reference=is_reference) if waveforms else []
    return dict(zip(unique, windows, strict=True))
