"""A clip's score does not depend on when, in what order or in what company it is asked for."""

from collections.abc import Sequence

import numpy as np

from cmi_bench.conformance.finding import SkippedCheckError
from cmi_bench.conformance.probes import Probe
from cmi_bench.conformance.subject import Subject

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


def _several(probes: Sequence[Probe]) -> Sequence[Probe]:
    if len(probes) < LEAST:
        raise SkippedCheckError("It scores too few of the clips by themselves.")
    return probes
