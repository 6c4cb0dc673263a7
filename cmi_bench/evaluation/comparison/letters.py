"""Significance groups: runs that share a letter do not differ."""

import itertools
from collections.abc import Collection, Sequence
from string import ascii_lowercase


def letter_groups(names: Sequence[str], differing: Collection[frozenset[str]]) -> dict[str, str]:
    """Return the letters of each run: one letter for each largest group of runs that do not differ.

    The method is to insert and absorb (Piepho 2004).

    Args:
        names: The runs, the best first: it gets the letter "a".
        differing: The pairs of runs that differ significantly.

    Returns:
        By name, e.g. "ab"; two runs share a letter exactly if they are not among `differing`.

    >>> letter_groups(["x", "y", "z"], [frozenset("xz")])
    {'x': 'a', 'y': 'ab', 'z': 'b'}
    """
    groups = [frozenset(names)]
    for pair in differing:
        split = [group - {name} for group in groups for name in (pair if pair <= group else ("",))]
        # Of two equal groups the first stays; a group within another says nothing new.
        groups = [
            group
            for index, group in enumerate(split)
            if not any(group < other or (group == other and at < index) for at, other in enumerate(split))
        ]
    position = {name: index for index, name in enumerate(names)}
    ordered = sorted(groups, key=lambda group: sorted(position[name] for name in group))
    letters = list(zip(_letters(), ordered, strict=False))
    return {name: "".join(letter for letter, group in letters if name in group) for name in names}


def _letters() -> itertools.chain[str]:
    """a, b, ... z, then with numbers: a2, b2, ..."""
    more = (f"{letter}{number}" for number in itertools.count(2) for letter in ascii_lowercase)
    return itertools.chain(ascii_lowercase, more)
