"""What raters said: how answers are spelled, and the one answer of several raters."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from cmi_bench.data.columns import normalised
from cmi_bench.data.fields import BOTH_BAD, Preference

NO_LABEL = frozenset({"na", "n/a", "nan", "none", "null", "-", "?"})
"""What people and programs write into a cell without a label."""


class Vote(NamedTuple):
    """What one rater said."""

    rater: str | None
    """None where the table does not name raters."""
    value: Any
    """A number, or a `Preference`."""
    line: int
    is_both_bad: bool = False
    """Whether a `Preference.BOTH` says that both are bad."""


class Majority(NamedTuple):
    """What most raters of a pair said."""

    winner: Preference
    """The most frequent answer; `BOTH` where two answers are equally frequent."""
    share: float
    """Of the raters, how many gave the most frequent answer; above 0, up to 1."""


def majority(votes: Sequence[Preference]) -> Majority:
    """Return the majority of one or more votes.

    >>> majority([Preference.A, Preference.A, Preference.B]).winner.value
    'model_a'
    >>> majority([Preference.A, Preference.B])
    Majority(winner=<Preference.BOTH: 'both'>, share=0.5)
    """
    (first, count), *others = Counter(votes).most_common()
    is_tied = bool(others) and others[0][1] == count
    return Majority(Preference.BOTH if is_tied else first, count / len(votes))


OTHER_SIDE = {Preference.A: Preference.B, Preference.B: Preference.A, Preference.BOTH: Preference.BOTH}
_WORDS_A = (
    "a",
    "first",
    "left",
    "song_a",
    "audio_a",
    "model_a",
    "system_a",
    "clip_a",
    "sample_a",
    "option_a",
    "a_wins",
)
_WORDS_B = tuple(
    {"first": "second", "left": "right", "a": "b", "a_wins": "b_wins"}.get(word, word.replace("_a", "_b"))
    for word in _WORDS_A
)
_WINNERS: Mapping[str, Preference] = {
    **dict.fromkeys(_WORDS_A, Preference.A),
    **dict.fromkeys(_WORDS_B, Preference.B),
    **dict.fromkeys(
        (
            *("both", "tie", "tied", "equal", "same", "draw", "neither", "both_bad", "both_good"),
            *("no_preference", "undecided", "no_difference", "=", "a=b", "b=a"),
        ),
        Preference.BOTH,
    ),
    **dict.fromkeys(("a>b", "b<a"), Preference.A),
    **dict.fromkeys(("a<b", "b>a"), Preference.B),
}
"""How people spell who won, as `side_in_words` reads it."""


def side_in_words(text: str) -> Preference | None:
    """Return who won by an answer, whatever its case, spaces and punctuation; None where no side is spelled so.

    >>> side_in_words("Song A").value
    'model_a'
    """
    return _WINNERS.get("".join(text.lower().split()) if set(text) & set("<=>") else normalised(text))


def says_both_bad(text: str) -> bool:
    """Tell whether an answer is that both songs are bad.

    >>> says_both_bad("Both bad"), says_both_bad("neither")
    (True, False)
    """
    return normalised(text) == BOTH_BAD


def answer_text(cell: Any) -> str:
    """Return a cell's text; 1.0, as data frames write a 1 beside empty cells, as "1"."""
    return str(int(cell)) if isinstance(cell, float) and cell.is_integer() else str(cell).strip()


def meaning_of_digits(cells: Iterable[Any]) -> Mapping[str, Preference]:
    """Return what 1 and 2 mean where they are the only numbers among the answers.

    With a 0 beside them they say nothing: it may be a tie, or the first song.
    """
    digits = {text for cell in cells if (text := answer_text(cell)).lstrip("-").isdigit()}
    return {"1": Preference.A, "2": Preference.B} if "2" in digits and digits <= {"1", "2"} else {}
