"""Which rows make which step: a function of the seed and the step, never of a generator that runs along.

Resumed, on one process or on several, a training sees the same rows, the same way round and with the same inputs
dropped. Rows come up as in fair queueing: each has a rate, and its j-th appearance falls at a random time of the j-th
interval of its own length, so that rows of equal rates make epochs, each in an order of its own and without
replacement, and sources are mixed in their proportions in every stretch of the training.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from cmi_bench.evaluation.clusters import prompt_ids, system_ids
from cmi_bench.evaluation.resampling import Floats, Ids
from cmi_bench.models.base import UnusedInput
from cmi_bench.training.examples import Example
from cmi_bench.training_config import Balance, SamplingConfig, Unit

SWAP, APPEARANCE = 0, 1
"""Streams of random numbers besides each other."""


class DrawnRow(NamedTuple):
    """A row's appearance in a step."""

    example: int
    """Its place among the examples."""
    is_swapped: bool
    """Whether clip B is shown as A."""
    dropped: frozenset[UnusedInput]
    """What of the instruction is replaced by null embeddings, for all clips of the row."""


class Sampler:
    """Draws the rows of each step."""

    def __init__(
        self, examples: Sequence[Example], settings: SamplingConfig, *, batch_size: int, steps: int, seed: int
    ) -> None:
        """Plan the order of all rows.

        Args:
            examples: What there is to learn from; at least one.
            settings: How sources and rows are mixed.
            batch_size: Rows of a step; where whole prompts are drawn, on average.
            steps: How many steps there will be.
            seed: Of everything random.
        """
        self.settings = settings
        self.seed = seed
        self.batch_size = batch_size
        sources: dict[str, list[int]] = {}
        for place, example in enumerate(examples):
            sources.setdefault(example.source, []).append(place)
        units = [
            (unit, rate)
            for source, share in _shares(sources, settings.temperature).items()
            for unit, rate in _units(examples, sources[source], share, settings)
        ]
        self._units = [unit for unit, _ in units]
        rates = np.array([rate for _, rate in units])
        sizes = np.array([len(unit) for unit in self._units])
        self._order = _order(rates, sizes, rows=batch_size * steps, seed=seed)
        self._starts = np.cumsum(sizes[self._order]) - sizes[self._order]

    def step(self, number: int) -> list[list[DrawnRow]]:
        """Return the rows of a step, in units that belong together.

        Args:
            number: Of the step, from 0.
        """
        first, end = np.searchsorted(self._starts, (number * self.batch_size, (number + 1) * self.batch_size))
        units = [self._units[unit] for unit in self._order[first:end]]
        chance = iter(np.random.default_rng([self.seed, SWAP, number]).random((sum(map(len, units)), 4)))
        return [[self._drawn(row, next(chance)) for row in unit] for unit in units]

    def parts(self, number: int, count: int) -> list[list[DrawnRow]]:
        """Return the rows of a step cut into parts of about equal size; units are not cut, so that a part may be empty.

        Args:
            number: Of the step, from 0.
            count: Parts: devices times accumulated batches.
        """
        units = self.step(number)
        total = sum(map(len, units))
        parts: list[list[DrawnRow]] = [[] for _ in range(count)]
        done = 0
        for unit in units:
            parts[done * count // total].extend(unit)
            done += len(unit)
        return parts

    def _drawn(self, row: int, chance: Floats) -> DrawnRow:
        settings = self.settings
        limits: tuple[tuple[UnusedInput, float], ...] = (
            ("text", settings.drop_text),
            ("lyrics", settings.drop_lyrics),
            ("ref_audio", settings.drop_ref_audio),
        )
        dropped = frozenset(name for (name, limit), drawn in zip(limits, chance[1:], strict=True) if drawn < limit)
        return DrawnRow(row, bool(settings.swap and chance[0] < 0.5), dropped)


def _shares(sources: dict[str, list[int]], temperature: float) -> dict[str, float]:
    """Return the share of the rows that comes from each source."""
    weights = {source: len(rows) ** (1.0 / temperature) for source, rows in sources.items()}
    return {source: weight / sum(weights.values()) for source, weight in weights.items()}


def _units(
    examples: Sequence[Example], rows: Sequence[int], share: float, settings: SamplingConfig
) -> Iterator[tuple[list[int], float]]:
    """Yield what is drawn of a source, each with its rate: appearances for each row that is drawn of all sources."""
    dataset, raws = examples[rows[0]].row.dataset, [examples[row].row.raw for row in rows]
    groups = prompt_ids(raws, dataset) if settings.unit is Unit.prompt else range(len(rows))
    units: dict[int, list[int]] = {}
    for row, group in zip(rows, groups, strict=True):
        units.setdefault(int(group), []).append(row)
    weights = system_weights(system_ids(raws, dataset)) if settings.balance is Balance.systems else np.ones(len(rows))
    weight_of = dict(zip(rows, weights, strict=True))
    rates = [float(np.mean([weight_of[row] for row in unit])) for unit in units.values()]
    total = sum(rate * len(unit) for rate, unit in zip(rates, units.values(), strict=True))
    for unit, rate in zip(units.values(), rates, strict=True):
        yield unit, share * rate / total


def system_weights(systems: Ids) -> Floats:
    """Return weights [N] of rows under which the clips of each system come up about equally often.

    A clip counts one over the clips of its system, a row the mean of its clips. Clips of no known system are as of one
    more.

    Args:
        systems: [N, 1] or [N, 2] as from `evaluation.clusters.system_ids`.
    """
    _, place, clips = np.unique(systems, return_inverse=True, return_counts=True)
    weights: Floats = (1.0 / clips)[place.reshape(systems.shape)].mean(axis=1)
    return weights


def _order(rates: Floats, sizes: Ids, *, rows: int, seed: int) -> Ids:
    """Return units in the order in which they come up, until there are `rows` rows.

    Args:
        rates: Appearances of each unit in the time in which one row is drawn.
        sizes: Rows of each unit.
        rows: How many rows are drawn.
        seed: Of the order.
    """
    # A unit is at most one appearance behind its rate, so that by this time there are enough.
    horizon = float(rows + sizes.sum())
    by_rate = np.argsort(-rates, kind="stable")
    appearances = np.ceil(rates[by_rate] * horizon).astype(np.intp)
    times, units = [], []
    for number in range(int(appearances[0])):
        # The units with so many appearances come first, so that a longer training begins as a shorter one.
        due = by_rate[: np.searchsorted(-appearances, -number)]
        chance = np.random.default_rng([seed, APPEARANCE, number]).random(due.size)
        times.append((number + chance) / rates[due])
        units.append(due)
    order = np.concatenate(units)[np.argsort(np.concatenate(times), kind="stable")]
    needed = int(np.searchsorted(np.cumsum(sizes[order]), rows)) + 1
    return order[:needed]
