"""The lines of the paper's tables, as the public evaluator writes them."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from cmi_bench.data.datasets import CMI_PREF, MUSIC_ARENA, MUSIC_EVAL, PAM
from cmi_bench.evaluation.metrics import ACC, K_TAU, LCC, SRCC
from cmi_bench.evaluation.records import Evaluation

MUSICALITY, ALIGNMENT, PREFERENCE = "musicality", "alignment", "preference"
CORRELATION_COLUMNS = (LCC, SRCC, K_TAU)
CONFIDENCES = ("<3", "=3", ">3")


class _Line(NamedTuple):
    comment: str
    """What the columns are, after the percent sign."""
    cells: Sequence[str]


class _Lookup:
    """The evaluation's numbers by place in the tables; None where there is none."""

    def __init__(self, evaluation: Evaluation) -> None:
        self._summary = {(record.dataset, record.task): record.metrics for record in evaluation.summary}
        self._detail = {
            (record.dataset, record.task, record.group_key, record.group_value, record.ref_category): record.metrics
            for record in evaluation.detail
        }

    def summary(self, dataset: str, task: str, metric: str) -> float | None:
        return self._summary.get((dataset, task), {}).get(metric)

    def cmi_pref(self, task: str, key: str, value: str, ref_category: str | None = None) -> float | None:
        return self._detail.get((CMI_PREF.name, task, key, value, ref_category), {}).get(ACC)


def latex_lines(evaluation: Evaluation, label: str) -> str:
    """Return the text of `latex.txt`: six table lines, each under a comment that names its columns.

    Args:
        evaluation: What was measured; a group that was not made is "-".
        label: First cell of each line, written as it is.
    """
    lookup = _Lookup(evaluation)
    lines = [make(lookup) for make in LINES]
    return "".join(f"% {line.comment}\n{' & '.join([label, *line.cells])} \\\\\n" for line in lines)


def _correlation(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value * 100:.2f}"


def _mean(*values: float | None) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _correlations(lookup: _Lookup, dataset: str, task: str) -> list[str]:
    return [_correlation(lookup.summary(dataset, task, metric)) for metric in CORRELATION_COLUMNS]


def _musicality(lookup: _Lookup) -> _Line:
    return _Line(
        "Musicality: Method&Model, PAM(LCC,SRCC,K-Tau), MusicEval(LCC,SRCC,K-Tau), MusicArena(ACC), CMI-Pref(ACC)",
        [
            *_correlations(lookup, PAM.name, MUSICALITY),
            *_correlations(lookup, MUSIC_EVAL.name, MUSICALITY),
            _percent(lookup.summary(MUSIC_ARENA.name, PREFERENCE, ACC)),
            _percent(lookup.summary(CMI_PREF.name, MUSICALITY, ACC)),
        ],
    )


def _alignment(lookup: _Lookup) -> _Line:
    text, lyrics, ref, everything = (
        lookup.cmi_pref(ALIGNMENT, "modality", condition)
        for condition in ("text", "text+lyrics", "text+ref", "text+lyrics+ref")
    )
    accuracies = (text, lyrics, ref, everything, _mean(text, lyrics), _mean(ref, everything))
    return _Line(
        "Alignment: Method&Model, PAM(LCC,SRCC,K-Tau), CMI(text,lyrics,audio,all=text+lyrics+ref,w/o audio,w/ audio)",
        [*_correlations(lookup, PAM.name, ALIGNMENT), *map(_percent, accuracies)],
    )


def _final(lookup: _Lookup) -> _Line:
    pam = _mean(*(lookup.summary(PAM.name, task, SRCC) for task in (MUSICALITY, ALIGNMENT)))
    cmi_pref = _mean(*(lookup.summary(CMI_PREF.name, task, ACC) for task in (ALIGNMENT, MUSICALITY)))
    return _Line(
        "Final: Training variant, PAM Mean SRCC, MusicEval SRCC, Music Arena Acc, CMI-Pref Mean Acc",
        [
            _correlation(pam),
            _correlation(lookup.summary(MUSIC_EVAL.name, MUSICALITY, SRCC)),
            _percent(lookup.summary(MUSIC_ARENA.name, PREFERENCE, ACC)),
            _percent(cmi_pref),
        ],
    )


def _cmi_pref_musicality(lookup: _Lookup) -> _Line:
    values = [
        lookup.summary(CMI_PREF.name, MUSICALITY, ACC),
        *(lookup.cmi_pref(MUSICALITY, "confidence", level, "all") for level in CONFIDENCES),
        *(lookup.cmi_pref(MUSICALITY, "modality_type", kind) for kind in ("instru", "vocal")),
    ]
    return _Line(
        "CMI-Pref Musicality: variant, Total, Conf<3, Conf=3, Conf>3, Instru(no lyrics), Vocal(lyrics)",
        list(map(_percent, values)),
    )


def _cmi_pref_alignment(lookup: _Lookup, ref_category: str, conditions: Sequence[str]) -> list[str]:
    values = [
        lookup.cmi_pref(ALIGNMENT, "ref_subset", ref_category),
        *(lookup.cmi_pref(ALIGNMENT, "confidence", level, ref_category) for level in CONFIDENCES),
        *(lookup.cmi_pref(ALIGNMENT, "modality", condition) for condition in conditions),
    ]
    return list(map(_percent, values))


def _cmi_pref_text(lookup: _Lookup) -> _Line:
    return _Line(
        "CMI-Pref Text-Music Alignment (no ref): "
        "variant, Total, Conf<3, Conf=3, Conf>3, Instru(text), Vocal(text+lyrics)",
        _cmi_pref_alignment(lookup, "no_ref", ("text", "text+lyrics")),
    )


def _cmi_pref_reference(lookup: _Lookup) -> _Line:
    return _Line(
        "CMI-Pref Audio-Music Alignment (ref): "
        "variant, Total, Conf<3, Conf=3, Conf>3, Instru(text+ref), Vocal(text+lyrics+ref)",
        _cmi_pref_alignment(lookup, "ref", ("text+ref", "text+lyrics+ref")),
    )


LINES: Sequence[Callable[[_Lookup], _Line]] = (
    _musicality,
    _alignment,
    _final,
    _cmi_pref_musicality,
    _cmi_pref_text,
    _cmi_pref_reference,
)
