"""The checks: each a function of a subject that returns what it found, or raises why the contract is not kept.

In this order: equal scores in any batch and order, the model's declarations, its embeddings, its inputs, single clips.
"""

import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from torch import Tensor

from cmi_bench.audio.decode import decode
from cmi_bench.conformance.subject import (
    COLUMNS,
    JUDGED,
    LONG_SECONDS,
    MAX_DUR,
    SHORT_SECONDS,
    FailedCheckError,
    Scores,
    SkippedCheckError,
    Subject,
)
from cmi_bench.errors import UserError
from cmi_bench.models.base import AudioInput, BenchmarkModelABC, EmbeddedInput, EmbeddingModel, UnusedInput
from cmi_bench.scoring.collapse import check_model_collapse
from cmi_bench.types import Clip

LEAST = 2
"""Clips of a batch."""


def again(subject: Subject) -> str:
    """The same batch gets the same scores twice."""
    probes = _several(subject.repeated())
    return subject.compare(subject.ask(probes), subject.ask(probes), probes)


def batch(subject: Subject) -> str:
    """Clips of different lengths and instructions have together the scores that each has alone."""
    probes = _several(subject.repeated())
    return subject.compare(subject.ask(probes), subject.alone(probes), probes)


def batch_size(subject: Subject) -> str:
    """`batch_size` is a wish: the scores are the same for 1 as for all at once."""
    probes = _several(subject.repeated())
    return subject.compare(subject.ask(probes, batch_size=1), subject.ask(probes), probes)


def order(subject: Subject) -> str:
    """The batch in another order has the same scores in that order."""
    probes = _several(subject.repeated())
    return subject.compare(np.flip(subject.ask(probes[::-1]), axis=0), subject.ask(probes), probes)


def mixed_references(subject: Subject) -> str:
    """With and without reference in one batch: each clip has the score that it has alone."""
    without, referring = subject.repeated(), subject.answered(subject.probes.referring)
    if not referring or not without:
        raise SkippedCheckError("It scores no clip with, or none without, reference.")
    probes = [without[0], *referring, *without[1:]]
    return subject.compare(subject.ask(probes), subject.alone(probes), probes)


def _several(probes: Sequence[Clip]) -> Sequence[Clip]:
    if len(probes) < LEAST:
        raise SkippedCheckError("It scores too few of the clips by themselves.")
    return probes


PARAMETERS = ("inputs", "batch_size", "max_dur")
"""Of `score_batch`, as the public scripts name them when they call it."""


def sampling_rate(model: BenchmarkModelABC) -> str:
    """`sr` is a whole number of Hz."""
    sr = model.sr
    if isinstance(sr, bool) or not isinstance(sr, int | np.integer) or sr <= 0:
        raise FailedCheckError(f"sr is {sr!r}; it has to be a whole number of Hz above 0.")
    return f"{sr} Hz."


def declarations(subject: Subject) -> str:
    """`audio_input` and `unused_inputs` are understood, and `score_batch` takes what it is called with."""
    if subject.form not in get_args(AudioInput):
        raise FailedCheckError(f"audio_input is {subject.form!r}; it has to be one of {get_args(AudioInput)}.")
    if strange := subject.unused - set(get_args(UnusedInput)):
        raise FailedCheckError(f"unused_inputs holds {min(strange)!r}; known are {get_args(UnusedInput)}.")
    takes = inspect.signature(subject.model.implementation.score_batch).parameters
    takes_all = any(parameter.kind is parameter.VAR_KEYWORD for parameter in takes.values())
    if lacking := [name for name in PARAMETERS if name not in takes and not takes_all]:
        raise FailedCheckError(
            f"score_batch has no parameter {lacking[0]!r}; the public scripts call it by the names"
            f" {', '.join(PARAMETERS)}."
        )
    unused = f"; unused: {', '.join(sorted(subject.unused))}" if subject.unused else ""
    return f"audio_input {subject.form}{unused}."


def identity(subject: Subject) -> str:
    """`identity`, by which scores are kept from run to run, is a string that stays the same."""
    first, second = _identities(subject.model), _identities(subject.model)
    if not first:
        raise SkippedCheckError("It has none: its scores are not kept from run to run.")
    for name, value in first.items():
        if not isinstance(value, str) or not value:
            raise FailedCheckError(f"{name} is {value!r}; it has to be a string.")
        if value != second.get(name):
            raise FailedCheckError(f"{name} changes: {value!r}, then {second.get(name)!r}.")
    return f"{', '.join(first)}: the same when asked again."


def _identities(model: BenchmarkModelABC) -> dict[str, str]:
    found = {} if model.identity is None else {"identity": model.identity}
    if isinstance(model, EmbeddingModel):
        found |= {"audio_identity": model.audio_identity, "text_identity": model.text_identity}
    return found


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
    return subject.compare(subject.read(model.score_embedded(clips), len(clips)), subject.alone(probes), probes)


def _windows(model: EmbeddingModel, paths: list[str], *, is_reference: bool) -> dict[str, list[Tensor]]:
    """Embed files, each once, all of them at the same time."""
    seconds = model.audio_view(MAX_DUR, is_reference=is_reference).seconds
    unique = list(dict.fromkeys(paths))
    waveforms = [decode(Path(path), int(model.sr), seconds) for path in unique]
    windows = model.embed_audio(waveforms, MAX_DUR, is_reference=is_reference) if waveforms else []
    return dict(zip(unique, windows, strict=True))


def collapse(subject: Subject) -> str:
    """Clips of different music get different scores and embeddings, and no projection has its initial values."""
    if subject.model.is_remote:
        raise SkippedCheckError("Not asked of a service, which is paid for each answer.")
    clips = subject.answered((*subject.probes.plain, subject.probes.long))
    found = check_model_collapse(subject.model, clips, max_dur=MAX_DUR, scores=subject.alone(clips))
    if found.signs:
        raise FailedCheckError(f"It cannot tell songs apart: {'; '.join(found.signs)}.")
    return f"{'; '.join(found.measured)}."


def unchanged(subject: Subject) -> str:
    """The inputs are as they were: the list, the texts, and each sample of a waveform."""
    probes = subject.answered((*subject.probes.plain[:2], *subject.probes.referring[:1]))
    given, kept = subject.inputs(probes), subject.inputs(probes)
    same = list(given)
    subject.answer(given)
    if len(given) != len(same) or any(one is not other for one, other in zip(given, same, strict=True)):
        raise FailedCheckError("The list of inputs is another one afterwards.")
    for probe, now, before in zip(probes, same, kept, strict=True):
        for name, value in before.to_dict().items():
            if not _is_same(now.to_dict()[name], value):
                raise FailedCheckError(f"{name} of {probe.clip_id} was changed in place; work on a copy.")
    return f"{len(probes)} clips as they were."


def unused(subject: Subject) -> str:
    """What is declared as unused changes nothing."""
    if not subject.unused:
        raise SkippedCheckError("It declares no unused_inputs.")
    probe = subject.probes.referring[-1]
    given = subject.answer(subject.inputs([probe], unused=frozenset()))
    return subject.compare(given, subject.alone([probe]), [probe])


def other_form(subject: Subject) -> str:
    """Audio as path and as waveform: the benchmark uses one of them, so that the other is worth a word only."""
    if subject.model.is_remote:
        raise SkippedCheckError("Not asked of a service, which is paid for each answer.")
    other: AudioInput = "waveform" if subject.form == "path" else "path"
    probe = subject.probes.plain[0]
    try:
        scores = subject.answer(subject.inputs([probe], form=other))
        return f"Given a {other} instead. {subject.compare(scores, subject.alone([probe]), [probe])}"
    except FailedCheckError as error:
        raise SkippedCheckError(f"Given a {other}, it answers otherwise ({error}); the benchmark never does.") from None
    except Exception as error:  # whatever it raises, it is not asked so by the benchmark
        raise SkippedCheckError(f"It takes no {other} ({type(error).__name__}); the benchmark gives it none.") from None


def _is_same(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    return bool(one == other)


def one_clip(subject: Subject) -> str:
    """A clip with text gets two numbers, of which one may be NaN; from each member of an ensemble."""
    scores = subject.alone(subject.probes.plain[:1])
    if np.isnan(scores).all():
        raise FailedCheckError("Both scores are NaN: it judges nothing.")
    return _describe(scores)


def lyrics(subject: Subject) -> str:
    """Lyrics may be there."""
    return _scored(subject, subject.probes.plain[1])


def no_instruction(subject: Subject) -> str:
    """Text and lyrics may be empty, and the reference missing."""
    return _scored(subject, subject.probes.plain[-1])


def reference(subject: Subject) -> str:
    """There may be reference audio."""
    return " With lyrics: ".join(_scored(subject, probe) for probe in subject.probes.referring)


def silence(subject: Subject) -> str:
    """Silence is a clip like any other: a model of music has to say something about it."""
    return _scored(subject, subject.probes.silent)


def short_clip(subject: Subject) -> str:
    """A very short clip gets finite scores, or is refused in clear words."""
    try:
        return _scored(subject, subject.probes.short)
    except (UserError, ValueError) as error:
        what = error.what if isinstance(error, UserError) else str(error)
        return f"Refuses {SHORT_SECONDS:g} s: {what}"
    except FailedCheckError as error:
        if subject.answered([subject.probes.short]):
            raise
        return f"Refuses {SHORT_SECONDS:g} s: {error}"


def long_clip(subject: Subject) -> str:
    """What comes after `max_dur` does not change the score."""
    long, changed = subject.probes.long, subject.probes.long_changed
    detail = _scored(subject, long)
    model = subject.model
    if isinstance(model, EmbeddingModel) and model.audio_view(MAX_DUR, is_reference=False).seconds is None:
        raise SkippedCheckError("It says, by its audio_view, that it listens to the whole file.")
    if model.is_remote:
        return f"{detail} {LONG_SECONDS:g} s; not compared, since a service may answer equal questions differently."
    if subject.form == "waveform":
        return f"{detail} The benchmark decodes no more than max_dur."
    return subject.compare(subject.alone([changed]), subject.alone([long]), [changed]) + (
        f" {LONG_SECONDS:g} s, of which max_dur={MAX_DUR:g} s are the same."
    )


def columns(subject: Subject) -> str:
    """A column is NaN for all clips (not judged) or for none, and never infinite."""
    probes = subject.answered((*subject.probes.plain, *subject.probes.referring))
    scores = subject.alone(probes)[:, :JUDGED]
    judged = []
    for name, column in zip(COLUMNS, scores.T, strict=False):
        if np.isinf(column).any():
            raise FailedCheckError(f"{name} of {probes[int(np.argmax(np.isinf(column)))].clip_id} is infinite.")
        missing = np.isnan(column)
        if missing.any() and not missing.all():
            raise FailedCheckError(
                f"{name} is NaN for {missing.sum()} of {len(probes)} clips, such as"
                f" {probes[int(np.argmax(missing))].clip_id}: NaN means not judged, for all clips alike."
            )
        judged += [] if missing.all() else [name]
    return f"Judges {' and '.join(judged)}."


def ensemble(subject: Subject) -> str:
    """The members of an ensemble differ: their spread is what it is there for."""
    if subject.n_members == 1:
        raise SkippedCheckError("It answers with one score a clip: it is no ensemble.")
    probes = subject.answered((*subject.probes.plain, *subject.probes.referring))
    spreads = subject.alone(probes)[:, JUDGED:]
    if not np.nan_to_num(spreads).any():
        raise FailedCheckError(f"Its {subject.n_members} members give the same scores: are they the same network?")
    typical = [
        f"{name} {np.median(column):.2g}"
        for name, column in zip(COLUMNS[JUDGED:], spreads.T, strict=True)
        if not np.isnan(column).any()
    ]
    return f"{subject.n_members} members; {', '.join(typical)} (median of {len(probes)} clips)."


def _scored(subject: Subject, probe: Clip) -> str:
    """Return a clip's scores in words, checked against what the first clip has."""
    scores, judged = subject.alone([probe]), ~np.isnan(subject.alone(subject.probes.plain[:1]))
    for name, value, is_judged in zip(COLUMNS, scores[0], judged[0], strict=False):
        if is_judged and not np.isfinite(value):
            raise FailedCheckError(f"{name} of {probe.clip_id} is {value}.")
    return _describe(scores)


def _describe(scores: Scores) -> str:
    judged = [f"{name} {value:.4g}" for name, value in zip(COLUMNS, scores[0], strict=False) if not np.isnan(value)]
    return f"{', '.join(judged)}."
