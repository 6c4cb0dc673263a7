"""`task=conformance`: whether a model keeps to the contract, and if not, what differs by how much."""

import time
from pathlib import Path

from lightning.pytorch import seed_everything

from cmi_bench.config import Config
from cmi_bench.conformance.run import (
    as_json,
    as_table,
    check_model,
    check_sampling_rate,
    describe_error,
    verdict_of,
)
from cmi_bench.conformance.subject import CheckOutcome, CheckResult, failures
from cmi_bench.errors import UserError
from cmi_bench.models.base import BenchmarkModelABC
from cmi_bench.models.registry import configured_model
from cmi_bench.tasks.scoring import facts_afterwards, model_facts, recorded, run_devices
from cmi_bench.tracking.description import model_label
from cmi_bench.tracking.metadata import METADATA_FILE, run_metadata, write_metadata
from cmi_bench.utils.console import ItemCount, print_view
from cmi_bench.utils.distributed import Devices
from cmi_bench.utils.files import write_text_atomic

CONSTRUCTION = "construction"
WIDTH = 110
"""Columns of the table in a file or a pipe."""


def run_conformance(config: Config, folder: Path) -> None:
    """Make the checks; the table goes to stdout, `conformance.json`, `metadata.json` and the clips to `folder`.

    The clips are cropped at 4 s, whatever `max_dur` says.

    Raises:
        UserError: A check failed, or the model cannot be built for a reason of the user's making.
        RunError: A service ends the work, such as for its cost.
    """
    started = time.monotonic()
    seed_everything(config.seed, workers=True, verbose=False)
    devices = run_devices(config)
    built = _build(config, devices)
    if isinstance(built, CheckResult):
        _report([built], config, folder)
        return
    metadata = run_metadata(config, model_facts(config, built, devices))
    with recorded(folder, metadata):
        findings = check_model(
            built,
            folder,
            precision=config.precision.value,
            score_kwargs=config.model.get("score_kwargs"),
            progress=ItemCount("checking", unit="check"),
        )
        metadata |= facts_afterwards(metadata, built)
        metadata["counts"] = {outcome: sum(one.outcome is outcome for one in findings) for outcome in CheckOutcome}
        metadata["seconds"] = {"wall": round(time.monotonic() - started, 3)}
        write_metadata(folder / METADATA_FILE, metadata | {"status": "finished"})
    _report(findings, config, folder)


def _build(config: Config, devices: Devices) -> BenchmarkModelABC | CheckResult:
    """Return the model, or the finding that says why no check can be made."""
    try:
        model = configured_model(config, devices.this_process)
    except UserError:
        raise
    except Exception as error:  # whatever its constructor raises is the model's failure
        return CheckResult(CONSTRUCTION, CheckOutcome.FAILED, describe_error(error))
    if model.needs_labels:
        raise UserError(
            f"model={config.model['name']} answers from the labels of rows, and these clips have none.",
            "Choose a model that judges audio.",
        )
    sampling_rate = check_sampling_rate(model)
    return sampling_rate if failures([sampling_rate]) else model


def _report(findings: list[CheckResult], config: Config, folder: Path) -> None:
    name = model_label(config.model)
    write_text_atomic(folder / "conformance.json", as_json(findings, name=name))
    print_view(as_table(findings, title=name), width=WIDTH)
    print_view(f"Results: {folder}")
    verdict = verdict_of(findings, name=name)
    if failures(findings):
        raise UserError(verdict)
    print_view(verdict)
