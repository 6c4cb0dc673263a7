"""`task=evaluate results=FILE`: the metrics of an existing results file, without a model and without torch.

Every task that has results evaluates and reports them with `evaluate_and_report`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cmi_bench.config import Config
from cmi_bench.data.audio_info import (
    AudioHeaders,
    Durations,
    DurationsBySource,
    ManifestDurations,
    read_durations,
)
from cmi_bench.data.datasets import OWN_SOURCE
from cmi_bench.data.manifest import read_manifest
from cmi_bench.data.rows import read_results, results_file
from cmi_bench.errors import UserError
from cmi_bench.evaluation.evaluate import Evaluation, evaluate
from cmi_bench.reporting.html.format import ReportSource
from cmi_bench.reporting.html.page import write_page
from cmi_bench.reporting.metrics import write_reports
from cmi_bench.reporting.raters import write_raters
from cmi_bench.reporting.terminal import summary_view
from cmi_bench.task_config import EvaluateTask
from cmi_bench.tracking.metadata import METADATA_FILE, look_up, own_roots, read_metadata
from cmi_bench.utils.console import print_view, spinner


@dataclass(frozen=True)
class Report:
    """The outcome of an evaluation, for those who pass it on."""

    evaluation: Evaluation
    files: tuple[Path, ...]
    """What was written; folders stand for all they hold."""


def evaluate_and_report(
    rows: Sequence[Mapping[str, Any]],
    config: Config,
    *,
    folder: Path,
    label: str,
    origin: str,
    metadata: Mapping[str, Any] | None = None,
    is_shown: bool = True,
) -> Report:
    """Evaluate results rows, write the metric files into `folder` and print the summary.

    Args:
        rows: Lines of a results file.
        config: The run's configuration.
        folder: Where the files go.
        label: The run's name in tables.
        origin: What the rows were read from, for messages.
        metadata: What is known of the run that made the rows.
        is_shown: Whether to print.
    """
    own = own_roots(metadata)
    with spinner("evaluating", is_shown=is_shown):
        evaluation = evaluate(rows, config.metrics, durations=_durations(config, own), origin=origin)
        notes = (look_up(metadata, "batch_check", "note"), *evaluation.notes, data_note(config, metadata))
        evaluation = replace(evaluation, notes=[str(note) for note in notes if note])
        files = [*write_reports(evaluation, folder, label=label), *write_raters(evaluation, folder)]
        if config.metrics.report:
            roots = _audio_roots(config, metadata)
            allow_outside = config.data.allow_outside
            source = ReportSource(evaluation, rows, label, roots, allow_outside, metadata, own_roots=own)
            files += write_page(source, folder, with_audio=config.tracking.audio)
    if is_shown:
        print_view(summary_view(evaluation, label))
        print_view(f"Results: {folder}")
    return Report(evaluation, tuple(files))


def data_note(config: Config, metadata: Mapping[str, Any] | None) -> str:
    """Return what has to be known of the rows: of those that the run scored, where its metadata say, or of `data`."""
    recorded = look_up(metadata, "config", "data")
    note = config.data.note if recorded is None else look_up(metadata, "config", "data", "note")
    return note if isinstance(note, str) else ""


def _audio_roots(config: Config, metadata: Mapping[str, Any] | None) -> list[Path]:
    """Return where the audio may be: where this run says, or where the run that scored it had it."""
    recorded = look_up(metadata, "config", "data", "root")
    return [Path(root) for root in dict.fromkeys((config.data.root, recorded)) if isinstance(root, str)]


def _durations(config: Config, own: Mapping[str, Path]) -> Durations | None:
    """Return how long clips are, None where nobody asks; the user's own datasets have roots of their own."""
    if not config.metrics.by_duration:
        return None
    if config.metrics.durations is not None:
        return read_durations(Path(config.metrics.durations))
    allow_outside, manifest = config.data.allow_outside, read_manifest(Path(config.data.manifest))
    found = ManifestDurations(Path(config.data.root), manifest, allow_outside)
    if not own:
        return found
    by_source = {f"{OWN_SOURCE}{name}": AudioHeaders(root, allow_outside) for name, root in own.items()}
    return DurationsBySource(found, by_source)


def run_evaluate(config: EvaluateTask, folder: Path) -> None:
    """Evaluate `config.results`, a results file or a run's folder, into `folder`.

    Raises:
        UserError: The file is not named, not there, empty, or not readable as results.
    """
    if config.results is None:
        raise UserError("task=evaluate needs a results file.", "Give it as results=outputs/.../results.jsonl")
    path = results_file(Path(config.results))
    rows = read_results(path)
    evaluate_and_report(
        rows,
        config,
        folder=folder,
        label=path.absolute().parent.name,
        origin=str(path),
        metadata=read_metadata(path.with_name(METADATA_FILE)),
    )
