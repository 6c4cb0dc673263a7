"""Predicted against human scores."""

from collections.abc import Iterator

from cmi_bench.data.datasets import MosTask
from cmi_bench.evaluation.records import SummaryRecord
from cmi_bench.evaluation.samples import Samples
from cmi_bench.reporting.html.figures import Figure, FigureSection, task_stem
from cmi_bench.reporting.html.source import ReportSource
from cmi_bench.reporting.html.wording import count, with_interval
from cmi_bench.reporting.plots.scatter import drawable, scatter_plot


def scatter_section(source: ReportSource) -> FigureSection | None:
    """Return a scatter plot for each task on single clips; None where there is no such task."""
    evaluation = source.evaluation
    tasks = [
        (record, samples)
        for record, samples in zip(evaluation.summary, evaluation.samples, strict=True)
        if isinstance(samples.task, MosTask)
    ]
    if not tasks:
        return None
    return FigureSection(
        "people",
        "Predicted against human scores",
        "People",
        "Each dot is a clip: what people said on average, and what the model said. The line is the least-squares fit.",
        list(_figures(tasks)),
        empty="No clip has both a label and a prediction.",
    )


def _figures(tasks: list[tuple[SummaryRecord, Samples]]) -> Iterator[Figure]:
    for record, samples in tasks:
        if not drawable(samples).any():
            continue
        title = f"{record.dataset}, {record.task}"
        metrics = "; ".join(f"{metric} {with_interval(record, metric)}" for metric in record.metrics)
        alt = f"Scatter plot of predicted {record.task} against mean opinion score, {count(record.n, 'clip')}."
        name = task_stem("scores", samples.dataset, samples.task)
        yield Figure(title, f"{count(record.n, 'clip')}; {metrics}", scatter_plot(samples, name=name, alt=alt))
