"""Clips by themselves: with and without what may be missing, silent, very short, too long."""

import numpy as np

from cmi_bench.conformance.differences import COLUMNS, Scores
from cmi_bench.conformance.finding import FailedCheckError, SkippedCheckError
from cmi_bench.conformance.probes import LONG_SECONDS, MAX_DUR, SHORT_SECONDS, Probe
from cmi_bench.conformance.subject import Subject
from cmi_bench.errors import UserError
from cmi_bench.models.contract import EmbeddingModel
from cmi_bench.models.remote import RemoteModel


def one_clip(subject: Subject) -> str:
    """A clip with text gets two numbers, of which one may be NaN."""
    scores = subject.alone(subject.probes.plain[:1])
    if np.isnan(scores).all():
        raise FailedCheckError("Both scores are NaN: it judges nothing.")
    return _in_words(scores)


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
    if isinstance(model, RemoteModel):
        return f"{detail} {LONG_SECONDS:g} s; not compared, since a service may answer equal questions differently."
    if subject.form == "waveform":
        return f"{detail} The benchmark decodes no more than max_dur."
    return subject.compare(subject.alone([changed]), subject.alone([long]), [changed]) + (
        f" {LONG_SECONDS:g} s, of which max_dur={MAX_DUR:g} s are the same."
    )


def columns(subject: Subject) -> str:
    """A column is NaN for all clips (not judged) or for none, and never infinite."""
    probes = subject.answered((*subject.probes.plain, *subject.probes.referring))
    scores = subject.alone(probes)
    judged = []
    for name, column in zip(COLUMNS, scores.T, strict=True):
        if np.isinf(column).any():
            raise FailedCheckError(f"{name} of {probes[int(np.argmax(np.isinf(column)))].name} is infinite.")
        missing = np.isnan(column)
        if missing.any() and not missing.all():
            raise FailedCheckError(
                f"{name} is NaN for {missing.sum()} of {len(probes)} clips, such as"
                f" {probes[int(np.argmax(missing))].name}: NaN means not judged, for all clips alike."
            )
        judged += [] if missing.all() else [name]
    return f"Judges {' and '.join(judged)}."


def _scored(subject: Subject, probe: Probe) -> str:
    """Return a clip's scores in words, checked against what the first clip has."""
    scores, judged = subject.alone([probe]), ~np.isnan(subject.alone(subject.probes.plain[:1]))
    for name, value, is_judged in zip(COLUMNS, scores[0], judged[0], strict=True):
        if is_judged and not np.isfinite(value):
            raise FailedCheckError(f"{name} of {probe.name} is {value}.")
    return _in_words(scores)


def _in_words(scores: Scores) -> str:
    said = [f"{name} {value:.4g}" for name, value in zip(COLUMNS, scores[0], strict=True) if not np.isnan(value)]
    return f"{', '.join(said)}."
