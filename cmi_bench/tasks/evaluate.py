"""`task=evaluate results=FILE`: the metrics of an existing results file, without a model and without torch."""

from pathlib import Path

from cmi_bench.config import Config
from cmi_bench.data.jsonl import read_jsonl
from cmi_bench.errors import UserError
from cmi_bench.tasks.report import evaluate_and_report
from cmi_bench.tracking.read_metadata import read_metadata


def run(config: Config, folder: Path) -> None:
    """Evaluate `config.results`, a results file or a run's folder, into `folder`.

    Raises:
        UserError: The file is not named, not there, empty, or not readable as results.
    """
    if config.results is None:
        raise UserError("task=evaluate needs a results file.", "Give it as results=outputs/.../results.jsonl")
    path = Path(config.results)
    if path.is_dir():
        path = path / "results.jsonl"
    rows = [line.value for line in read_jsonl(path)]
    if not rows:
        raise UserError(f"{path} is empty.", "Was the run finished? A results file has one JSON object a line.")
    evaluate_and_report(
        rows,
        config,
        folder=folder,
        label=path.absolute().parent.name,
        origin=str(path),
        metadata=read_metadata(path.with_name("metadata.json")),
    )
