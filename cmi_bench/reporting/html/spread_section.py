"""The distribution of scores."""

from collections.abc import Iterator

import numpy as np

from cmi_bench.data.datasets import Judgement, MosTask
from cmi_bench.evaluation.pairs import decided_pairs
from cmi_bench.evaluation.samples import Samples
from cmi_bench.reporting.html.figures import Figure, FigureSection, file_stem
from cmi_bench.reporting.html.source import ReportSource
from cmi_bench.reporting.plots.score_distribution import ScoreSpread, distribution_plot


def spread_section(source: ReportSource) -> FigureSection:
    """Return a plot for each of the two things that are judged."""
    return FigureSection(
        "scores",
        "Distribution of scores",
        "Scores",
        "Counts of clips over the model's own scale, one panel a dataset. For pairs, the clips that people preferred "
        "are apart from the others; pairs that they called a tie are left out.",
        [figure for judgement in Judgement for figure in _figure(judgement, source)],
        empty="No row has a score.",
    )


def _figure(judgement: Judgement, source: ReportSource) -> Iterator[Figure]:
    spreads = [
        spread
        for samples in source.evaluation.samples
        if samples.task.judgement is judgement
        for spread in _spread(samples, source)
    ]
    if spreads:
        headings = ", ".join(spread.heading for spread in spreads)
        plot = distribution_plot(
            spreads,
            axis=f"{judgement} score",
            name=file_stem("distribution", judgement),
            alt=f"Histograms of the {judgement} scores in {headings}.",
        )
        yield Figure(judgement.capitalize(), "", plot)


def _spread(samples: Samples, source: ReportSource) -> Iterator[ScoreSpread]:
    heading = samples.dataset.name
    if isinstance(samples.task, MosTask):
        scores = samples.prediction[np.isfinite(samples.prediction)]
        if scores.size:
            yield ScoreSpread(heading, scores)
    else:
        pairs = decided_pairs(samples, source.results)
        if pairs.rows.size:
            yield ScoreSpread(heading, pairs.preferred, pairs.other)
