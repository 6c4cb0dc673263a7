"""What a process works on at a time: the clips of a part of a step, embedded, and what was said of them."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import Dataset

from cmi_bench.data.rows import Row
from cmi_bench.evaluation.clusters import prompt_ids
from cmi_bench.models.base import EmbeddedInput, UnusedInput
from cmi_bench.training.examples import Example, Label, Outcome
from cmi_bench.training.objective import Objective, PairLabels, RatingLabels, StepLabels
from cmi_bench.training.sampling import Sampler
from cmi_bench.types import Aspect

ReadRow = Callable[[Row], list[EmbeddedInput]]
"""Returns the pooled embeddings of a row's clips: one, or A and B."""

SWAPPED = {Outcome.A: Outcome.B, Outcome.B: Outcome.A}
"""What is said of a pair that is shown the other way round; nothing else changes."""


class LearntRow(NamedTuple):
    """A row as a loss sees it."""

    row: Row
    labels: tuple[Label, ...]
    """Those that the objective uses, with its weights."""
    group: int
    """The same for rows of one source and prompt."""

    @property
    def clips(self) -> int:
        """How many clips it has: one, or A and B."""
        return 1 if self.row.audio_b is None else 2


def learnt_rows(examples: Sequence[Example], objective: Objective) -> list[LearntRow]:
    """Return the rows as the objective sees them; one without a label that it uses has none.

    Args:
        examples: Rows with labels.
        objective: Says which labels it uses, and what they count.
    """
    groups = _groups(examples)
    return [
        LearntRow(
            one.row,
            tuple(
                replace(label, weight=objective.weight(label, one.source))
                for label in one.labels
                if objective.uses(label)
            ),
            group,
        )
        for one, group in zip(examples, groups, strict=True)
    ]


def lack_lists(rows: Iterable[LearntRow]) -> bool:
    """Tell whether rows are rated, and no two clips of a prompt differently: then there is no order to learn."""
    ratings: dict[tuple[Aspect, int], set[float]] = {}
    for row in rows:
        for label in row.labels:
            if not isinstance(label.value, Outcome):
                ratings.setdefault((label.aspect, row.group), set()).add(label.value)
    return bool(ratings) and all(len(values) == 1 for values in ratings.values())


def _groups(examples: Sequence[Example]) -> list[int]:
    places: dict[str, list[int]] = {}
    for place, example in enumerate(examples):
        places.setdefault(example.source, []).append(place)
    groups = [0] * len(examples)
    first = 0
    for of_source in places.values():
        rows = [examples[place].row for place in of_source]
        ids = prompt_ids([row.raw for row in rows], rows[0].dataset)
        for place, number in zip(of_source, ids, strict=True):
            groups[place] = first + int(number)
        first += len(of_source)
    return groups


def total_weights(rows: Iterable[LearntRow]) -> dict[Aspect, float]:
    """Return the weight of all labels of rows, by aspect."""
    total = dict.fromkeys(Aspect, 0.0)
    for row in rows:
        for label in row.labels:
            total[label.aspect] += label.weight
    return total


def step_labels(
    rows: Sequence[LearntRow], total: Mapping[Aspect, float], *, swapped: Sequence[bool] | None = None
) -> StepLabels:
    """Return the labels of rows as tensors; their clips are those of the rows, in their order.

    Args:
        rows: The rows.
        total: The weight that sums of losses are divided by.
        swapped: Of each row, whether its clips are the other way round; None for none.
    """
    pairs: dict[Aspect, list[tuple[int, int, int, float]]] = {}
    ratings: dict[Aspect, list[tuple[int, float, float, int]]] = {}
    first = 0
    for row, is_swapped in zip(rows, swapped or [False] * len(rows), strict=True):
        for label in row.labels:
            if isinstance(label.value, Outcome):
                outcome = SWAPPED.get(label.value, label.value) if is_swapped else label.value
                pairs.setdefault(label.aspect, []).append((first, first + 1, int(outcome), label.weight))
            else:
                ratings.setdefault(label.aspect, []).append((first, label.value, label.weight, row.group))
        first += row.clips
    return StepLabels(
        {aspect: PairLabels(*_columns(one, "iiif")) for aspect, one in pairs.items()},
        {aspect: RatingLabels(*_columns(one, "iffi")) for aspect, one in ratings.items()},
        total,
    )


def _columns(rows: Sequence[tuple[float, ...]], kinds: str) -> list[Tensor]:
    types = {"i": torch.int64, "f": torch.float32}
    return [
        torch.tensor(column, dtype=types[kind]) for column, kind in zip(zip(*rows, strict=True), kinds, strict=True)
    ]


@dataclass(frozen=True)
class Batch:
    """A part of a step."""

    number: int
    """Of the batch among those of this process, from 0."""
    clips: Sequence[EmbeddedInput]
    dropped: Sequence[frozenset[UnusedInput]]
    """What of each clip's instruction is replaced by null embeddings."""
    labels: StepLabels


class PackedClips(NamedTuple):
    """Embedded clips as one tensor, which goes to another process or device at once rather than in hundreds."""

    values: Tensor
    """[all elements]: each tensor once, which several clips may share."""
    shapes: list[tuple[int, int]]
    """Of the tensors."""
    places: list[list[int | None]]
    """Of each clip those of its text, lyrics and reference (None where there is none), and of its windows."""


def pack(clips: Sequence[EmbeddedInput]) -> PackedClips:
    """Put embedded clips into one tensor."""
    parts = [(clip.text, clip.lyrics, clip.ref_audio, *clip.windows) for clip in clips]
    tensors = {id(one): one for of_clip in parts for one in of_clip if one is not None}
    place = {name: number for number, name in enumerate(tensors)}
    return PackedClips(
        torch.cat([one.reshape(-1) for one in tensors.values()]) if tensors else torch.empty(0),
        [(one.shape[0], one.shape[1]) for one in tensors.values()],
        [[None if one is None else place[id(one)] for one in of_clip] for of_clip in parts],
    )


def unpack(packed: PackedClips, device: torch.device) -> list[EmbeddedInput]:
    """Return embedded clips as views of one tensor on a device."""
    pieces = packed.values.to(device, non_blocking=True).split([length * width for length, width in packed.shapes])
    tensors = [piece.view(shape) for piece, shape in zip(pieces, packed.shapes, strict=True)]
    return [
        EmbeddedInput(
            windows=[tensors[place] for place in windows if place is not None],
            text=tensors[text],
            lyrics=tensors[lyrics],
            ref_audio=None if reference is None else tensors[reference],
        )
        for text, lyrics, reference, *windows in packed.places
        if text is not None and lyrics is not None
    ]


@dataclass(frozen=True)
class PackedBatch:
    """A batch on its way from a worker to the device."""

    number: int
    clips: PackedClips
    dropped: Sequence[frozenset[UnusedInput]]
    labels: StepLabels

    def on(self, device: torch.device) -> Batch:
        """Return the batch, on a device."""
        return Batch(self.number, unpack(self.clips, device), self.dropped, labels_on(self.labels, device))


def labels_on(labels: StepLabels, device: torch.device) -> StepLabels:
    """Return labels with their tensors on a device."""
    return StepLabels(
        {aspect: PairLabels(*(one.to(device) for one in pairs)) for aspect, pairs in labels.pairs.items()},
        {aspect: RatingLabels(*(one.to(device) for one in rated)) for aspect, rated in labels.ratings.items()},
        labels.total,
    )


@dataclass(frozen=True)
class Share:
    """Which part of the work is this process's."""

    rank: int = 0
    ranks: int = 1
    """How many processes share a step."""
    accumulate: int = 1
    """Batches of each process that make a step."""

    @property
    def parts(self) -> int:
        """How many batches make a step, over all processes."""
        return self.ranks * self.accumulate


class TrainingBatches(Dataset[PackedBatch]):
    """The batches of one process: item i is the i-th, planned and read when it is asked for."""

    def __init__(self, rows: Sequence[LearntRow], sampler: Sampler, read: ReadRow, share: Share, *, steps: int) -> None:
        """Say what is learnt from, and which share of it is this process's.

        Args:
            rows: In the order of the sampler's examples.
            sampler: Draws the rows of each step.
            read: Reads embeddings.
            share: Of this process.
            steps: How many steps there are.
        """
        self.rows = rows
        self.sampler = sampler
        self.read = read
        self.share = share
        self.steps = steps

    def __len__(self) -> int:
        return self.steps * self.share.accumulate

    def __getitem__(self, number: int) -> PackedBatch:
        step, place = divmod(number, self.share.accumulate)
        parts = self.sampler.parts(step, self.share.parts)
        total = total_weights(self.rows[drawn.example] for part in parts for drawn in part)
        own = parts[place * self.share.ranks + self.share.rank]
        rows = [self.rows[drawn.example] for drawn in own]
        clips: list[EmbeddedInput] = []
        for row, drawn in zip(rows, own, strict=True):
            of_row = self.read(row.row)
            clips += reversed(of_row) if drawn.is_swapped else of_row
        dropped = [drawn.dropped for row, drawn in zip(rows, own, strict=True) for _ in range(row.clips)]
        labels = step_labels(rows, total, swapped=[drawn.is_swapped for drawn in own])
        return PackedBatch(number, pack(clips), dropped, labels)


class ValidationBatches(Dataset[PackedBatch]):
    """The batches of rows that are set aside which one process scores."""

    def __init__(self, rows: Sequence[LearntRow], read: ReadRow, share: Share, *, size: int) -> None:
        """Say which rows.

        Args:
            rows: All of them.
            read: Reads embeddings.
            share: Of this process.
            size: Rows of a batch.
        """
        self.rows = rows
        self.read = read
        self.own = range(share.rank, len(rows), share.ranks)
        self.size = size
        starts = [0, *accumulate(row.clips for row in rows)]
        self.all_clips = starts[-1]
        """How many clips all rows have."""
        self._starts = starts

    def __len__(self) -> int:
        return -(-len(self.own) // self.size)

    def __getitem__(self, number: int) -> PackedBatch:
        rows = [self.rows[place] for place in self._places(number)]
        clips = [clip for row in rows for clip in self.read(row.row)]
        return PackedBatch(number, pack(clips), [frozenset()] * len(clips), StepLabels({}, {}, {}))

    def clips_of(self, number: int) -> list[int]:
        """Return the places of a batch's clips among those of all rows."""
        return [clip for place in self._places(number) for clip in range(self._starts[place], self._starts[place + 1])]

    def _places(self, number: int) -> Sequence[int]:
        """Return which of all rows a batch has."""
        return self.own[number * self.size : (number + 1) * self.size]
