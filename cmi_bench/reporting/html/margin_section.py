"""Accuracy by margin, and how well the scores are calibrated."""

from collections.abc import Iterator

from cmi_bench.data.datasets import PairTask
from cmi_bench.evaluation.bradley_terry import BradleyTerry, fit_bradley_terry
from cmi_bench.evaluation.calibration import MarginBin, chance_error, expected_calibration_error, margin_bins
from cmi_bench.evaluation.pairs import DecidedPairs, decided_pairs
from cmi_bench.evaluation.samples import Samples
from cmi_bench.reporting.html.figures import Figure, FigureSection, task_stem
from cmi_bench.reporting.html.source import ReportSource
from cmi_bench.reporting.html.wording import count, number, score
from cmi_bench.reporting.number_text import percent_name
from cmi_bench.reporting.plots.margin_curve import margin_plot

LEAD = (
    "Does a larger difference of scores mean a surer answer? Pairs are cut by margin into bins of equal number; dots "
    "are the accuracy in each, with its exact {confidence} interval. The curve is the Bradley-Terry model with one "
    "scale, P(A preferred) = 1 / (1 + exp(\N{MINUS SIGN}β (score A \N{MINUS SIGN} score B))), β by maximum likelihood. "
    "The expected calibration error (ECE) is the mean distance of the dots from it; it counts as far as it exceeds "
    "what labels drawn from the curve itself give by chance. Pairs that people called a tie are left out."
)


def margin_section(source: ReportSource) -> FigureSection | None:
    """Return a plot for each task on pairs; None where there is no such task."""
    tasks = [samples for samples in source.evaluation.samples if isinstance(samples.task, PairTask)]
    if not tasks:
        return None
    confidence = percent_name(source.evaluation.settings.confidence)
    return FigureSection(
        "margins",
        "Accuracy by margin",
        "Margins",
        LEAD.format(confidence=confidence),
        list(_figures(tasks, source)),
        empty="No pair has a preference and two scores; a preferred side that is only stated has no margin.",
    )


def _figures(tasks: list[Samples], source: ReportSource) -> Iterator[Figure]:
    settings = source.evaluation.settings
    for samples in tasks:
        pairs = decided_pairs(samples, source.results)
        if not pairs.rows.size:
            continue
        fit = fit_bradley_terry(pairs, confidence=settings.confidence)
        bins = margin_bins(pairs, fit.beta or 0.0, confidence=settings.confidence)
        title = f"{samples.dataset.name}, {samples.task.name}"
        lowest, highest = bins[0], bins[-1]
        alt = (
            f"Accuracy by margin for {count(pairs.rows.size, 'pair')}: {number(lowest.accuracy, 2)} at the smallest "
            f"margins, {number(highest.accuracy, 2)} at the largest."
        )
        plot = margin_plot(bins, fit.beta, name=task_stem("margins", samples.dataset, samples.task), alt=alt)
        yield Figure(title, _caption(pairs, bins, fit, settings.seed), plot)


def _caption(pairs: DecidedPairs, bins: list[MarginBin], fit: BradleyTerry, seed: int) -> str:
    if fit.beta is None or fit.ci_low is None or fit.ci_high is None:
        return f"{count(pairs.rows.size, 'pair')}; no curve: {fit.reason}."
    error, chance = expected_calibration_error(bins), chance_error(pairs, fit.beta, seed=seed)
    assert error is not None
    assert chance is not None
    return (
        f"{count(pairs.rows.size, 'pair')}; β = {score(fit.beta)} [{score(fit.ci_low)}, {score(fit.ci_high)}] per "
        f"point of score; ECE {number(error)} over {count(len(bins), 'bin')}; chance alone gives {number(chance)}."
    )
