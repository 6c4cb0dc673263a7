"""Which examples are for validation: rows that are alike stay on one side.

Rows that share a prompt, lyrics or audio depend on each other: a model that has learnt from one knows something of the
other. Rows are joined over whatever they share, directly or through others (one shares its prompt with a second, which
shares a clip with a third), and what hangs together is taken as a whole. The order in which such components are taken
is that of a hash of their smallest key, so that it depends on the seed and on what the rows are, not on their order.
"""

import hashlib
import logging
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from cmi_bench.data.fields import is_missing
from cmi_bench.errors import UserError, did_you_mean
from cmi_bench.training.examples import Example
from cmi_bench.training.identity import clips_of_row, normalised_text
from cmi_bench.training.rows import VALIDATION
from cmi_bench.training_config import SplitsConfig
from cmi_bench.utils.distributed import is_rank_zero

log = logging.getLogger(__name__)


class Shared(StrEnum):
    """What rows must not share across the split: values of `splits.by`."""

    PROMPT = "prompt"
    LYRICS = "lyrics"
    DIGEST = "digest"
    """The audio of a clip."""
    REFERENCE = "reference"
    """The audio of the reference."""
    SYSTEM = "system"
    """A generator on either side."""


class SourceShare(NamedTuple):
    """How much of a source is for validation."""

    source: str
    rows: int
    validation: int

    @property
    def share(self) -> float:
        """Share of its rows, 0 to 1."""
        return self.validation / self.rows


@dataclass(frozen=True)
class Split:
    """Examples to learn from and examples to validate on; both in the order that they came in."""

    training: tuple[Example, ...]
    validation: tuple[Example, ...]
    asked: float
    """The share of rows for validation that was asked for."""
    leaking: int
    """Training rows that share something with a validation row all the same: where rows say themselves which split they
    are of, and where generators are left out."""
    largest: Mapping[str, int]
    """By source, how many of its rows hang together at most."""

    @property
    def shares(self) -> tuple[SourceShare, ...]:
        """What became of each source."""
        validation = Counter(example.source for example in self.validation)
        rows = Counter(example.source for example in (*self.training, *self.validation))
        return tuple(SourceShare(source, count, validation[source]) for source, count in sorted(rows.items()))

    def describe(self) -> str:
        """Return what is for validation, for people."""
        named = ", ".join(
            f"{one.source} {one.validation:,} of {one.rows:,} rows ({one.share:.1%})" for one in self.shares
        )
        return f"validation on {named}; {self.asked:.1%} were asked for (splits.validation)"


def split_examples(examples: Sequence[Example], settings: SplitsConfig, digests: Mapping[str, str]) -> Split:
    """Choose the examples that are for validation.

    Rows that say so themselves (`split: validation`) are for validation, and their source's other rows for training.
    All rows of a source of `leave_out_sources` are for validation. What is like such rows goes with them. Rows with a
    generator of `leave_out_systems` on either side are for validation alone: what has their prompt is not, as each
    generator usually has been asked for every prompt.

    Args:
        examples: All of them.
        settings: The share of each source's rows, and what must not be shared.
        digests: SHA-256 of the audio, by its path in the rows; a file without one is known by its path.

    Raises:
        UserError: A setting names nothing that there is, or no row would be left for validation, or for training.
    """
    check_names(examples, settings)
    keys = [_keys(example, settings.by, digests) for example in examples]
    components = _components(keys)
    fates = _with_their_like(_fates(examples, settings), components)
    chosen = _draw(examples, fates, components, _order(components, keys, settings.seed), settings.validation)
    training = tuple(one for one, is_chosen in zip(examples, chosen, strict=True) if not is_chosen)
    validation = tuple(one for one, is_chosen in zip(examples, chosen, strict=True) if is_chosen)
    split = Split(training, validation, settings.validation, _leaking(keys, chosen), _largest(examples, components))
    _check_both_sides(split, settings)
    for warning in _warnings(split, settings) if is_rank_zero() else ():
        log.warning(warning)
    return split


def _warnings(split: Split, settings: SplitsConfig) -> list[str]:
    what = " or ".join(settings.by) or "their clips"
    found = [
        f"{split.largest[one.source]:,} of the {one.rows:,} rows of {one.source} hang together by what they share"
        f" ({what}), and are all for {'validation' if one.share > 0.5 else 'training'}: the split of this source is"
        " lopsided. Let rows share more: splits.by=[prompt,digest]"
        for one in split.shares
        if one.source not in settings.leave_out_sources and split.largest[one.source] > max(one.rows / 2, 1)
    ]
    if split.leaking:
        found.append(
            f"{split.leaking:,} training rows share {what} with rows that splits.leave_out_systems, or their own"
            " field `split`, put into validation."
        )
    return found


def check_names(examples: Sequence[Example], settings: SplitsConfig) -> None:
    """Check that what the settings name is there; nothing is computed.

    Raises:
        UserError: Something is not; names the nearest.
    """
    known = (
        ("splits.by", settings.by, list(Shared)),
        ("splits.leave_out_sources", settings.leave_out_sources, sorted({one.source for one in examples})),
        (
            "splits.leave_out_systems",
            settings.leave_out_systems,
            sorted({s for one in examples for s in _systems(one)}),
        ),
    )
    for key, given, there in known:
        for name in given:
            if name not in there:
                raise UserError(f"{key}: there is no {name!r}.", did_you_mean(name, there))


def _systems(example: Example) -> list[str]:
    return [str(one) for one in example.row.dataset.systems_of(example.row.raw) if not is_missing(one)]


def _keys(example: Example, by: Sequence[str], digests: Mapping[str, str]) -> list[str]:
    """Return what an example shares with those that are like it; the first in order is the most lasting one.

    Rows over the same clips, such as the votes of several people, always have a key in common.
    """
    row = example.row
    keys = [f"9 clips {' '.join(sorted(filter(None, (row.audio_a, row.audio_b))))}"]
    if Shared.PROMPT in by:
        prompt = normalised_text(row.prompt)
        if prompt:
            keys.append(f"1 prompt {prompt}")
        elif not is_missing(number := row.dataset.prompt_of(row.raw)):  # known by a file's name, as in MusicEval
            keys.append(f"1 prompt of {row.dataset.slug} {number}")
    if Shared.LYRICS in by and (lyrics := normalised_text(row.lyrics)):
        keys.append(f"2 lyrics {lyrics}")
    if Shared.SYSTEM in by:
        keys += [f"3 system {system}" for system in _systems(example)]
    if Shared.REFERENCE in by and row.ref_audio:
        keys.append(f"4 audio {digests.get(row.ref_audio, row.ref_audio)}")
    if Shared.DIGEST in by:
        keys += [f"4 audio {digests.get(path, path)}" for path in clips_of_row(row)]
    return keys


def _components(keys: Sequence[Sequence[str]]) -> np.ndarray:
    """Return the number of each row's component, from 0: rows are in one where a chain of shared keys joins them."""
    of_key: dict[str, int] = {}
    pairs = [(row, of_key.setdefault(key, len(of_key))) for row, of_row in enumerate(keys) for key in of_row]
    rows, columns = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    nodes = len(keys) + len(of_key)  # rows first, then what they share
    graph = coo_array((np.ones(len(rows), dtype=np.int8), (rows, columns + len(keys))), shape=(nodes, nodes))
    _, labels = connected_components(graph, directed=False)
    return np.unique(labels[: len(keys)], return_inverse=True)[1]


def _order(components: np.ndarray, keys: Sequence[Sequence[str]], seed: int) -> list[int]:
    """Return the components in the order that they are taken for validation: by a hash of their smallest key.

    A component that grows by rows on the same prompts keeps its smallest key, and with it its place.
    """
    smallest: dict[int, str] = {}
    for component, of_row in zip(components.tolist(), keys, strict=True):
        first = min(of_row)
        smallest[component] = min(first, smallest.get(component, first))
    return sorted(smallest, key=lambda one: hashlib.sha256(f"{seed} {smallest[one]}".encode()).digest())


class Fate(StrEnum):
    """What is said of a row before any is drawn."""

    VALIDATION = "validation"
    ALONE = "alone"
    """For validation, without the rows that are like it."""
    TRAINING = "training"
    FREE = "free"


def _fates(examples: Sequence[Example], settings: SplitsConfig) -> list[Fate]:
    with_own_split = {one.source for one in examples if one.split == VALIDATION}
    left_out = set(settings.leave_out_systems)

    def fate(example: Example) -> Fate:
        if example.split == VALIDATION or example.source in settings.leave_out_sources:
            return Fate.VALIDATION
        if left_out.intersection(_systems(example)):
            return Fate.ALONE
        return Fate.TRAINING if example.source in with_own_split else Fate.FREE

    return [fate(example) for example in examples]


def _with_their_like(fates: Sequence[Fate], components: np.ndarray) -> list[Fate]:
    """Return the fates where free rows go with what they are like: for validation first, else for training."""
    said: dict[int, set[Fate]] = defaultdict(set)
    for fate, component in zip(fates, components.tolist(), strict=True):
        said[component].add(fate)

    def followed(fate: Fate, others: set[Fate]) -> Fate:
        return next((one for one in (Fate.VALIDATION, Fate.TRAINING) if fate is Fate.FREE and one in others), fate)

    return [followed(fate, said[component]) for fate, component in zip(fates, components.tolist(), strict=True)]


def _draw(
    examples: Sequence[Example], fates: Sequence[Fate], components: np.ndarray, order: Sequence[int], share: float
) -> list[bool]:
    """Return for each example whether it is for validation.

    A component is taken if that leads none of its sources away from its share: one that is too large stays in training.
    """
    drawn_from: dict[int, list[int]] = defaultdict(list)
    rows: Counter[str] = Counter()
    taken: Counter[str] = Counter()
    for at, (example, fate) in enumerate(zip(examples, fates, strict=True)):
        rows[example.source] += fate is not Fate.ALONE
        taken[example.source] += fate is Fate.VALIDATION
        if fate is Fate.FREE:
            drawn_from[int(components[at])].append(at)
    chosen = [fate in (Fate.VALIDATION, Fate.ALONE) for fate in fates]
    for component in order:
        sizes = Counter(examples[at].source for at in drawn_from[component])
        if all(2 * (share * rows[source] - taken[source]) >= size for source, size in sizes.items()):
            taken += sizes
            for at in drawn_from[component]:
                chosen[at] = True
    return chosen


def _leaking(keys: Sequence[Sequence[str]], chosen: Sequence[bool]) -> int:
    """Return how many training rows share a key with a validation row."""
    of_validation = {key for of_row, is_chosen in zip(keys, chosen, strict=True) if is_chosen for key in of_row}
    return sum(
        not is_chosen and not of_validation.isdisjoint(of_row) for of_row, is_chosen in zip(keys, chosen, strict=True)
    )


def _largest(examples: Sequence[Example], components: np.ndarray) -> dict[str, int]:
    """Return how many rows of each source are in one component at most."""
    sizes = Counter(
        (example.source, component) for example, component in zip(examples, components.tolist(), strict=True)
    )
    largest: dict[str, int] = {}
    for (source, _), size in sizes.items():
        largest[source] = max(size, largest.get(source, 0))
    return largest


def _check_both_sides(split: Split, settings: SplitsConfig) -> None:
    if not split.validation:
        raise UserError(
            f"There are no validation rows: {_why_none(split, settings)}",
            "Raise splits.validation, let rows share more (splits.by=[prompt]), leave out a generator or a source"
            " (splits.leave_out_systems=[NAME]), or mark rows yourself (split: validation).",
        )
    if not split.training:
        raise UserError(
            f"All {len(split.validation):,} rows are for validation, and none is left to learn from.",
            "Lower splits.validation, leave out fewer generators or sources (splits.leave_out_...), or let rows share"
            " more (splits.by=[digest]).",
        )


def _why_none(split: Split, settings: SplitsConfig) -> str:
    if settings.validation == 0:
        return "splits.validation=0 asks for none."
    together = ", ".join(f"{one.source} {split.largest[one.source]:,} of {one.rows:,}" for one in split.shares)
    what = " or ".join(settings.by) or "their clips"
    return (
        f"with splits.validation={settings.validation:g} no group of rows that share {what} is small enough."
        f" So many rows hang together at most: {together}."
    )
