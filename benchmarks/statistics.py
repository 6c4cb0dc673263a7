"""Whether the statistics hold: coverage of the intervals and false positives of the tests, where the truth is known.

`python -m benchmarks.statistics [--replicates 1000] [--resamples 400] [--only TEXT]`: benchmarks of the sizes of the
real sets are drawn from models whose true values are known, with rows that depend on each other through their prompt
(and their system), and go through the package's own functions. An interval should hold the true value in 93 to 97 %
of them, and a test should call equal models different in 3.5 to 6.5 %. The table goes to `outputs/bench/` as well.
"""

import argparse
import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import scipy
from numpy.typing import NDArray

from cmi_bench.config import Clustering, MetricSettings, ProtocolName
from cmi_bench.data import fields
from cmi_bench.data.datasets import MUSIC_ARENA, MUSIC_EVAL, Dataset
from cmi_bench.evaluation.calibration import fit_bradley_terry
from cmi_bench.evaluation.clusters import NOBODY, clusters_of
from cmi_bench.evaluation.comparison import compare_metrics, correct_families, is_significant
from cmi_bench.evaluation.intervals import metric_intervals
from cmi_bench.evaluation.metrics import Shown, metrics_of
from cmi_bench.evaluation.protocols import PROTOCOLS
from cmi_bench.evaluation.samples import DecidedPairs, Samples
from cmi_bench.evaluation.uncertainty import Foretold, Sign, UncertaintyRecord, uncertainty_record
from cmi_bench.utils.console import print_view
from cmi_bench.utils.files import write_text_atomic

OUTPUT = Path("outputs/bench/statistics.md")
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Design:
    """The rows of a benchmark: which of them share a prompt."""

    name: str
    sizes: tuple[int, ...]
    """Rows of each prompt."""

    @property
    def cluster(self) -> NDArray[np.intp]:
        """[n] the prompt of each row."""
        return np.repeat(np.arange(len(self.sizes)), self.sizes)

    @property
    def title(self) -> str:
        """Its name with its size."""
        return f"{self.name} ({sum(self.sizes)} rows, {len(self.sizes)} prompts)"


def _repeating(n_rows: int, n_prompts: int) -> tuple[int, ...]:
    """Spread rows over prompts as in Music Arena: each prompt once, the others by chance."""
    extra = np.random.default_rng(0).integers(0, n_prompts, n_rows - n_prompts)
    return tuple(int(size) for size in 1 + np.bincount(extra, minlength=n_prompts))


MOS_DESIGNS = (
    Design("PAM", (5,) * 100),
    Design("MusicEval", (1,) * 413),
    Design("mini PAM", (5,) * 6),
    Design("mini MusicEval", (1,) * 25),
    Design("small", (5,) * 10),
    Design("small", (10,) * 8),
)
PAIR_DESIGNS = (
    Design("Music Arena", _repeating(1340, 887)),
    Design("CMI-Pref", (5,) * 100),
    Design("CMI-Pref", (10,) * 50),
    Design("CMI-Pref condition", (5,) * 25),
    Design("CMI-Pref condition", (1,) * 125),
    Design("mini Music Arena", (2,) * 9 + (1,) * 11),
    Design("mini CMI-Pref", (3,) * 12),
    Design("small", (5,) * 10),
    Design("small", (10,) * 6),
)
CORRELATIONS_WITHIN = (0.0, 0.3, 0.5)
"""Intra-class correlations of rows of a prompt."""


def true_correlations(rho: float) -> dict[str, float]:
    """Return the correlations of a bivariate normal distribution by metric (Kendall 1949)."""
    return {"LCC": rho, "SRCC": 6 / math.pi * math.asin(rho / 2), "K-Tau": 2 / math.pi * math.asin(rho)}


def normal_rows(rng: np.random.Generator, cluster: NDArray[np.intp], within: float, count: int) -> Floats:
    """Draw standard normal values [count, n] whose rows of a cluster correlate by `within`."""
    shared = rng.standard_normal((count, int(cluster.max()) + 1))[:, cluster]
    own = rng.standard_normal((count, cluster.size))
    return np.asarray(math.sqrt(within) * shared + math.sqrt(1 - within) * own)


def right_answers(
    rng: np.random.Generator, cluster: NDArray[np.intp], within: float, accuracy: float, count: int
) -> Floats:
    """Draw answers [count, n], 1 where right and -1 where wrong.

    Each cluster has a chance of its own from a beta distribution, so that two answers of a cluster correlate by
    `within`; the models' chances are independent of each other.
    """
    if within == 0.0:
        chance = np.full((count, cluster.size), accuracy)
    else:
        weight = (1 - within) / within
        drawn = rng.beta(accuracy * weight, (1 - accuracy) * weight, (count, int(cluster.max()) + 1))
        chance = drawn[:, cluster]
    return np.where(rng.random(chance.shape) < chance, 1.0, -1.0)


def samples_of(dataset: Dataset, label: Floats, prediction: Floats, cluster: NDArray[np.intp]) -> Samples:
    """Return rows as the evaluation sees them."""
    return Samples(
        dataset=dataset,
        task=dataset.tasks[0],
        protocol=PROTOCOLS[ProtocolName.strict],
        rows=np.arange(1, label.size + 1),
        label=label,
        prediction=prediction,
        prompt=cluster,
        system=np.full((label.size, 1 if dataset is MUSIC_EVAL else 2), NOBODY),
        scores=np.empty((label.size, 0)),
        applicable=True,
    )


@dataclass
class Counts:
    """How often something was told, and how often it was right (or falsely found)."""

    told: int = 0
    hits: int = 0
    silent: int = 0
    """How often nothing was told, as there was too little to tell by."""
    widths: list[float] = field(default_factory=list)
    methods: dict[str, int] = field(default_factory=lambda: defaultdict(int))


class Line(NamedTuple):
    """One line of the table."""

    what: str
    design: str
    condition: str
    metric: str
    method: str
    share: float | None
    """Of those told: intervals that hold the truth, or tests that call equal models different."""
    told: float
    """Share of the replicates in which something was told."""
    width: float | None


def _line(what: str, design: Design, condition: str, metric: str, counts: Counts) -> Line:
    total = counts.told + counts.silent
    method = max(counts.methods, key=lambda name: counts.methods[name]) if counts.methods else ""
    return Line(
        what,
        design.title,
        condition,
        metric,
        method,
        counts.hits / counts.told if counts.told else None,
        counts.told / total if total else 0.0,
        float(np.median(counts.widths)) if counts.widths else None,
    )


def correlation_coverage(settings: MetricSettings, replicates: int) -> Iterator[Line]:
    """Yield the coverage of the intervals of SRCC, LCC and K-Tau."""
    for design in MOS_DESIGNS:
        for within in CORRELATIONS_WITHIN if max(design.sizes) > 1 else (0.0,):
            for rho in (0.5, 0.85):
                rng = np.random.default_rng(1)
                counts_of: dict[str, Counts] = defaultdict(Counts)
                for _ in range(replicates):
                    x, noise = normal_rows(rng, design.cluster, within, 2)
                    y = rho * x + math.sqrt(1 - rho**2) * noise
                    samples = samples_of(MUSIC_EVAL, x, y, design.cluster)
                    _count_intervals(counts_of, samples, settings, true_correlations(rho))
                for metric, counts in counts_of.items():
                    yield _line("interval", design, f"ICC {within:g}, rho {rho:g}", metric, counts)


def accuracy_coverage(settings: MetricSettings, replicates: int) -> Iterator[Line]:
    """Yield the coverage of the intervals of accuracies."""
    for design in PAIR_DESIGNS:
        for within in CORRELATIONS_WITHIN if max(design.sizes) > 1 else (0.0,):
            for accuracy in (0.7, 0.9, 0.98):
                rng = np.random.default_rng(2)
                counts_of: dict[str, Counts] = defaultdict(Counts)
                label = np.ones(design.cluster.size)
                for _ in range(replicates):
                    (answer,) = right_answers(rng, design.cluster, within, accuracy, 1)
                    samples = samples_of(MUSIC_ARENA, label, answer, design.cluster)
                    _count_intervals(counts_of, samples, settings, {"ACC": accuracy})
                for metric, counts in counts_of.items():
                    yield _line("interval", design, f"ICC {within:g}, accuracy {accuracy:g}", metric, counts)


def _count_intervals(
    counts_of: dict[str, Counts], samples: Samples, settings: MetricSettings, truth: Mapping[str, float]
) -> None:
    metrics = [metric for metric in metrics_of(samples.task) if metric.name in truth]
    for name, interval in metric_intervals(samples, metrics, settings, ("simulation",)).items():
        counts = counts_of[name]
        if interval.low is None or interval.high is None:
            counts.silent += 1
            continue
        counts.told += 1
        counts.hits += interval.low <= truth[name] <= interval.high
        counts.widths.append(interval.high - interval.low)
        counts.methods[interval.method] += 1


def correlation_tests(settings: MetricSettings, replicates: int) -> Iterator[Line]:
    """Yield how often two equally good models are called different, and the coverage of the difference."""
    for design in MOS_DESIGNS:
        for within in CORRELATIONS_WITHIN if max(design.sizes) > 1 else (0.0,):
            rng = np.random.default_rng(3)
            found: dict[str, Counts] = defaultdict(Counts)
            covered: dict[str, Counts] = defaultdict(Counts)
            for _ in range(replicates):
                x, *noises = normal_rows(rng, design.cluster, within, 4)
                # The two models share a part of their error, as models do.
                runs = {
                    name: samples_of(
                        MUSIC_EVAL, x, 0.6 * x + 0.8 * (0.6 * noises[2] + 0.8 * noises[index]), design.cluster
                    )
                    for index, name in enumerate("ab")
                }
                _count_differences(found, covered, runs, settings)
            for metric in found:
                yield _line("test", design, f"ICC {within:g}", metric, found[metric])
                yield _line("difference", design, f"ICC {within:g}", metric, covered[metric])


def accuracy_tests(settings: MetricSettings, replicates: int) -> Iterator[Line]:
    """Yield how often two equally accurate models are called different, and the coverage of the difference."""
    for design in PAIR_DESIGNS:
        for within in CORRELATIONS_WITHIN if max(design.sizes) > 1 else (0.0,):
            for accuracy in (0.7, 0.9):
                rng = np.random.default_rng(4)
                found: dict[str, Counts] = defaultdict(Counts)
                covered: dict[str, Counts] = defaultdict(Counts)
                label = np.ones(design.cluster.size)
                for _ in range(replicates):
                    answers = right_answers(rng, design.cluster, within, accuracy, 2)
                    runs = {
                        name: samples_of(MUSIC_ARENA, label, answer, design.cluster)
                        for name, answer in zip("ab", answers, strict=True)
                    }
                    _count_differences(found, covered, runs, settings)
                for metric in found:
                    condition = f"ICC {within:g}, accuracy {accuracy:g}"
                    yield _line("test", design, condition, metric, found[metric])
                    yield _line("difference", design, condition, metric, covered[metric])


def _count_differences(
    found: dict[str, Counts], covered: dict[str, Counts], runs: Mapping[str, Samples], settings: MetricSettings
) -> None:
    task = next(iter(runs.values())).task
    for comparison in compare_metrics(runs, metrics_of(task, Shown.SUMMARY, settings), settings):
        for difference in comparison.differences:
            test, interval = found[comparison.metric], covered[comparison.metric]
            if difference.p is None:
                test.silent += 1
            else:
                test.told += 1
                test.hits += difference.p <= 0.05
                test.methods[difference.test] += 1
            if difference.interval.low is None or difference.interval.high is None:
                interval.silent += 1
            else:
                interval.told += 1
                interval.hits += difference.interval.low <= 0 <= difference.interval.high
                interval.widths.append(difference.interval.high - difference.interval.low)
                interval.methods[difference.interval.method] += 1


SHARES = {"prompt": 0.25, "system": 0.35, "own": 0.4}
"""Of the variance of labels and of scores, where systems differ (in PAM 43 % of the label's is the system's)."""


def system_coverage(settings: MetricSettings, replicates: int) -> Iterator[Line]:
    """Yield the coverage of correlations of other prompts and other systems, by what is taken for independent."""
    for name, n_prompts, n_systems in (("PAM", 100, 5), ("MusicEval", 13, 31), ("10 systems", 50, 10)):
        prompt, system = np.repeat(np.arange(n_prompts), n_systems), np.tile(np.arange(n_systems), n_prompts)
        design = Design(f"{name}, {n_systems} systems", (n_systems,) * n_prompts)
        for clustering in (Clustering.prompt, Clustering.system, Clustering.both):
            rng = np.random.default_rng(6)
            counts_of: dict[str, Counts] = defaultdict(Counts)
            for _ in range(replicates):
                x, noise = (
                    math.sqrt(SHARES["prompt"]) * rng.standard_normal((2, n_prompts))[:, prompt]
                    + math.sqrt(SHARES["system"]) * rng.standard_normal((2, n_systems))[:, system]
                    + math.sqrt(SHARES["own"]) * rng.standard_normal((2, prompt.size))
                )
                samples = samples_of(MUSIC_EVAL, x, 0.6 * x + 0.8 * noise, prompt)
                samples = replace(samples, system=system[:, None])
                truth = {metric: value for metric, value in true_correlations(0.6).items() if metric != "K-Tau"}
                _count_intervals(counts_of, samples, replace(settings, cluster=clustering), truth)
            for metric, counts in counts_of.items():
                yield _line(f"interval, cluster={clustering}", design, "systems differ", metric, counts)


def battle_coverage(settings: MetricSettings, replicates: int) -> Iterator[Line]:
    """Yield the coverage of accuracies of other prompts and other systems, over pairs of two of 12 systems."""
    design = PAIR_DESIGNS[0]
    prompt, label = design.cluster, np.ones(design.cluster.size)
    for clustering in (Clustering.prompt, Clustering.system, Clustering.both):
        rng = np.random.default_rng(7)
        counts = Counts()
        for _ in range(replicates):
            systems = np.stack([rng.permutation(12)[:2] for _ in range(prompt.size)])
            # Right where a normal value of two systems, a prompt and its own part is below the quantile of 0.7.
            value = math.sqrt(0.1) * rng.standard_normal(12)[systems].sum(axis=1)
            value += math.sqrt(0.3) * rng.standard_normal(len(design.sizes))[prompt]
            value += math.sqrt(0.5) * rng.standard_normal(prompt.size)
            samples = samples_of(MUSIC_ARENA, label, np.where(value < 0.5244005127080407, 1.0, -1.0), prompt)
            samples = replace(samples, system=systems)
            counts_of = {"ACC": counts}
            _count_intervals(counts_of, samples, replace(settings, cluster=clustering), {"ACC": 0.7})
        yield _line(f"interval, cluster={clustering}", design, "12 systems differ", "ACC", counts)


def tail_coverage(settings: MetricSettings, replicates: int) -> Iterator[Line]:
    """Yield the coverage of LCC where scores have heavy tails, by the mean kurtosis of what was drawn."""
    design = MOS_DESIGNS[1]
    n = design.cluster.size
    for degrees in (20, 8, 5, 4, 3, 2.5):
        rng = np.random.default_rng(8)
        # The true correlation, from many rows.
        x = rng.standard_normal(2_000_000)
        truth = float(np.corrcoef(x, x + rng.standard_t(degrees, x.size))[0, 1])
        counts_of: dict[str, Counts] = defaultdict(Counts)
        kurtosis = []
        for _ in range(replicates):
            x = rng.standard_normal(n)
            y = x + rng.standard_t(degrees, n)
            kurtosis.append(float(((y - y.mean()) ** 4).mean() / y.var() ** 2))
            _count_intervals(counts_of, samples_of(MUSIC_EVAL, x, y, design.cluster), settings, {"LCC": truth})
        condition = f"t noise of {degrees:g} degrees, median kurtosis {np.median(kurtosis):.1f}"
        yield _line("interval", design, condition, "LCC", counts_of["LCC"])


def scale_coverage(settings: MetricSettings, replicates: int) -> Iterator[Line]:
    """Yield the coverage of the Bradley-Terry scale of a model's margins."""
    for design in (PAIR_DESIGNS[0], PAIR_DESIGNS[1], PAIR_DESIGNS[3], PAIR_DESIGNS[6]):
        for within in CORRELATIONS_WITHIN:
            rng = np.random.default_rng(9)
            counts = Counts()
            for _ in range(replicates):
                margin, luck = normal_rows(rng, design.cluster, within, 2)
                size = np.abs(margin)
                is_right = scipy.special.ndtr(luck) < scipy.special.expit(1.5 * size)
                clusters = samples_of(MUSIC_ARENA, size, size, design.cluster)
                pairs = DecidedPairs(
                    clusters.rows,
                    np.where(is_right, size, -size),
                    np.zeros(size.size),
                    clusters_of(clusters.prompt, clusters.system, settings.cluster),
                )
                fit = fit_bradley_terry(pairs)
                if fit.ci_low is None or fit.ci_high is None:
                    counts.silent += 1
                    continue
                counts.told += 1
                counts.hits += fit.ci_low <= 1.5 <= fit.ci_high
                counts.widths.append(fit.ci_high - fit.ci_low)
                counts.methods["sandwich t"] += 1
            yield _line("interval", design, f"ICC {within:g}", "Bradley-Terry", counts)


EQUAL_CHECKPOINTS = 8


def sweep_tables(settings: MetricSettings, replicates: int) -> Iterator[Line]:
    """Yield how often a column of a sweep over equally good checkpoints tells any two of them apart."""
    for design in (PAIR_DESIGNS[0], PAIR_DESIGNS[1], PAIR_DESIGNS[6], MOS_DESIGNS[0]):
        for within in (0.0, 0.3):
            rng = np.random.default_rng(5)
            counts_of: dict[str, Counts] = defaultdict(Counts)
            for _ in range(replicates):
                runs = _equal_checkpoints(rng, design, within)
                task = next(iter(runs.values())).task
                compared = compare_metrics(runs, metrics_of(task, Shown.HEADLINE, settings), settings)
                for comparison in correct_families(compared, 0.05):
                    counts = counts_of[comparison.metric]
                    tested = [one for one in comparison.differences if one.p_holm is not None]
                    counts.told += bool(tested)
                    counts.silent += not tested
                    counts.hits += any(is_significant(one, 0.05) for one in tested)
                    counts.methods["Holm"] += 1
            for metric, counts in counts_of.items():
                yield _line("any of 28 pairs", design, f"ICC {within:g}", metric, counts)


def _equal_checkpoints(rng: np.random.Generator, design: Design, within: float) -> dict[str, Samples]:
    cluster = design.cluster
    if design in MOS_DESIGNS:
        x, *noises = normal_rows(rng, cluster, within, 1 + EQUAL_CHECKPOINTS)
        return {f"c{i}": samples_of(MUSIC_EVAL, x, 0.6 * x + 0.8 * noise, cluster) for i, noise in enumerate(noises)}
    answers = right_answers(rng, cluster, within, 0.7, EQUAL_CHECKPOINTS)
    label = np.ones(cluster.size)
    return {f"c{i}": samples_of(MUSIC_ARENA, label, answer, cluster) for i, answer in enumerate(answers)}


MEMBER_SCALES = np.array([0.6, 0.8, 1.0, 1.3, 1.7])
MEMBER_OFFSETS = np.array([-3.0, 0.5, 0.0, 2.0, 9.0])
TRUTH_ROWS, TRUTHS = 6000, 40
"""True values are means over so many benchmarks of so many rows without prompts."""


def said_by_members(
    rng: np.random.Generator, truth: Floats, cluster: NDArray[np.intp], within: float, *, telling: bool
) -> Floats:
    """Return what the members of an ensemble say [M, n]: the truth [n], an error that they share, noise of their own.

    The size of a row's own noise correlates by `within` among the rows of a cluster, as the errors do. Own noise
    cancels in the ensemble's mean, so that it tells of the shared error only where that has its size (`telling`).
    """
    size, shared = normal_rows(rng, cluster, within, 2)
    size = 0.5 * np.exp(0.7 * size)
    own = size * rng.standard_normal((MEMBER_SCALES.size, truth.size))
    own -= np.outer(MEMBER_SCALES, MEMBER_SCALES @ own) / np.square(MEMBER_SCALES).sum()
    said = truth + shared * (2 * size if telling else 1.0) + own
    return np.asarray(MEMBER_SCALES[:, None] * said + MEMBER_OFFSETS[:, None])


def ensemble_record(
    rng: np.random.Generator,
    dataset: Dataset,
    cluster: NDArray[np.intp],
    within: float,
    settings: MetricSettings,
    *,
    telling: bool,
) -> UncertaintyRecord:
    """Draw a benchmark and measure what the spread of an ensemble is worth on it."""
    score = fields.PREDICTED_MUSICALITY
    truth, noise = normal_rows(rng, cluster, within, 2)
    said = said_by_members(rng, truth, cluster, within, telling=telling)
    label = truth + 0.7 * noise
    if dataset is MUSIC_EVAL:
        samples = samples_of(dataset, label, said.mean(axis=0), cluster)
        rows = [{score: float(one.mean()), score + fields.MEMBERS: one.tolist()} for one in said.T]
    else:
        samples = samples_of(dataset, np.sign(label), np.sign(said.mean(axis=0) - MEMBER_OFFSETS.mean()), cluster)
        middle = rng.standard_normal(cluster.size)
        sides = {
            "": middle * MEMBER_SCALES[:, None] + said / 2,
            fields.SIDE_B: middle * MEMBER_SCALES[:, None] - said / 2,
        }
        sides[fields.SIDE_B] += MEMBER_OFFSETS[:, None]  # which cancels in the margins
        rows = [
            {f"{score}{fields.MEMBERS}{side}": members[:, at].tolist() for side, members in sides.items()}
            | {f"{score}{side}": float(members[:, at].mean()) for side, members in sides.items()}
            for at in range(cluster.size)
        ]
    record = uncertainty_record(samples, rows, settings)
    assert record is not None
    return record


def _foretold(record: UncertaintyRecord) -> dict[str, Foretold]:
    gain = {} if record.gain is None else {"gain": record.gain}
    return {str(sign): found for sign, found in record.signs.items()} | gain


def foretelling_coverage(settings: MetricSettings, replicates: int) -> Iterator[Line]:
    """Yield the coverage of the intervals of what foretells an ensemble's errors."""
    for dataset, designs in ((MUSIC_ARENA, PAIR_DESIGNS), (MUSIC_EVAL, MOS_DESIGNS)):
        for telling in (False, True):
            true = _true_foretelling(dataset, settings, telling=telling)
            for design in designs:
                for within in CORRELATIONS_WITHIN if max(design.sizes) > 1 else (0.0,):
                    rng = np.random.default_rng(6)
                    counts_of: dict[str, Counts] = defaultdict(Counts)
                    for _ in range(replicates):
                        record = ensemble_record(rng, dataset, design.cluster, within, settings, telling=telling)
                        for name, found in _foretold(record).items():
                            _count_foretold(counts_of[name], found, true[name])
                    condition = f"ICC {within:g}, {'telling' if telling else 'saying nothing'}"
                    for name, counts in counts_of.items():
                        yield _line(f"foretold ({true[name]:.3f})", design, condition, name, counts)


def _true_foretelling(dataset: Dataset, settings: MetricSettings, *, telling: bool) -> dict[str, float]:
    """Return the true values; that of a spread that says nothing is known."""
    rng, without, rows = np.random.default_rng(7), replace(settings, resamples=0), np.arange(TRUTH_ROWS)
    records = [ensemble_record(rng, dataset, rows, 0.0, without, telling=telling) for _ in range(TRUTHS)]
    found_of: dict[str, list[float]] = defaultdict(list)
    for record in records:
        for name, found in _foretold(record).items():
            found_of[name].append(math.nan if found.value is None else found.value)
    nothing = {} if telling else {str(Sign.SPREAD): 0.0 if dataset is MUSIC_EVAL else 0.5}
    return {name: float(np.mean(values)) for name, values in found_of.items()} | nothing


def _count_foretold(counts: Counts, found: Foretold, truth: float) -> None:
    interval = found.interval
    if interval is None or interval.low is None or interval.high is None:
        counts.silent += 1
        return
    counts.told += 1
    counts.hits += interval.low <= truth <= interval.high
    counts.widths.append(interval.high - interval.low)
    counts.methods[interval.method] += 1


PARTS: Mapping[str, Callable[[MetricSettings, int], Iterator[Line]]] = {
    "correlation intervals": correlation_coverage,
    "accuracy intervals": accuracy_coverage,
    "correlation tests": correlation_tests,
    "accuracy tests": accuracy_tests,
    "sweep tables": sweep_tables,
    "systems": system_coverage,
    "battles": battle_coverage,
    "heavy tails": tail_coverage,
    "scale": scale_coverage,
    "ensembles": foretelling_coverage,
}


def table(lines: list[Line]) -> str:
    """Return the lines as a Markdown table."""
    head = (
        "| what | rows | truth | metric | method | held or found | told | width |\n|---|---|---|---|---|--:|--:|--:|\n"
    )
    cells = (
        (
            one.what,
            one.design,
            one.condition,
            one.metric,
            one.method,
            "too few to tell" if one.share is None else f"{100 * one.share:.1f} %",
            f"{100 * one.told:.0f} %",
            "" if one.width is None else f"{one.width:.3f}",
        )
        for one in lines
    )
    return head + "".join(f"| {' | '.join(row)} |\n" for row in cells)


def main() -> None:
    """Run the simulations and print their table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--replicates", type=int, default=1000, help="simulated benchmarks for each line")
    parser.add_argument("--resamples", type=int, default=400, help="metrics.resamples")
    parser.add_argument("--only", default="", help="part of the name of what is run: " + ", ".join(PARTS))
    given = parser.parse_args()
    settings = MetricSettings(resamples=given.resamples, cluster=Clustering.prompt)
    lines: list[Line] = []
    for name, part in PARTS.items():
        if given.only in name:
            started = time.monotonic()
            lines += part(settings, given.replicates)
            print_view(f"{name}: {time.monotonic() - started:.0f} s")
    text = table(lines)
    print_view(text)
    OUTPUT.parent.mkdir(parents=True, exist_ok=True)
    write_text_atomic(OUTPUT, text)


if __name__ == "__main__":
    main()
