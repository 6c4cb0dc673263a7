"""`task=doctor`: say whether a run with the same other words would work, and what to do if not."""

import os
from pathlib import Path

from hydra.core.hydra_config import HydraConfig

from cmi_bench.config import Config, DoctorFormat
from cmi_bench.reporting.console import print_view

PROBLEMS = 1
"""Exit code where there is a problem."""
WIDTH_OF_A_LOG = 160


def run(config: Config, folder: Path) -> None:
    """Print the findings on stdout: a table, or JSON with `doctor.format=json`.

    Raises:
        SystemExit: With code 1, if there is a problem.
    """
    # The doctor looks at what is on this machine; the hub's client reads this when it is imported.
    os.environ["HF_HUB_OFFLINE"] = "1"
    from cmi_bench.doctor.examination import examine
    from cmi_bench.doctor.finding import Status, worst
    from cmi_bench.doctor.present import as_json, as_table, in_words

    findings = examine(config, folder, HydraConfig.get().overrides.task)
    if config.doctor.format is DoctorFormat.json:
        print_view(as_json(findings))
    else:
        print_view(as_table(findings), width=WIDTH_OF_A_LOG)
        print_view(in_words(findings))
    if worst(findings) is Status.PROBLEM:
        raise SystemExit(PROBLEMS)
