"""What `task=` may be; this table names the functions without importing any, so that no task pays for another."""

from typing import NamedTuple


class Task(NamedTuple):
    """One value of `task=`."""

    function: str
    """Where its `function(config, folder)` is: "module:function"."""
    purpose: str
    """One sentence for lists."""


TASKS = {
    "benchmark": Task(
        "cmi_bench.tasks.benchmark:run_benchmark", "Score the rows with the model, evaluate, report, record."
    ),
    "cache": Task("cmi_bench.tasks.maintenance:run_cache", "What is kept from run to run, and how to get rid of it."),
    "prepare": Task(
        "cmi_bench.tasks.prepare:run_prepare",
        "Bring what `python run.py` with the same other words needs, onto this machine.",
    ),
    "doctor": Task(
        "cmi_bench.tasks.prepare:run_doctor",
        "Say whether a run with the same other words would work, and what to do if not.",
    ),
    "evaluate": Task(
        "cmi_bench.tasks.evaluate:run_evaluate",
        "The metrics of an existing results file, without a model and without torch.",
    ),
    "list": Task("cmi_bench.tasks.maintenance:run_list", "What can be chosen and measured, and the runs of before."),
    "sanity": Task(
        "cmi_bench.tasks.checks:run_sanity", "How a model answers to silence, noise, damage and the wrong prompt."
    ),
    "conformance": Task(
        "cmi_bench.tasks.checks:run_conformance",
        "Whether a model keeps to the contract, and if not, what differs by how much.",
    ),
    "new_model": Task(
        "cmi_bench.tasks.maintenance:run_new_model", "Write an adapter of your own, its configuration and its test."
    ),
    "compare": Task(
        "cmi_bench.tasks.compare:run_compare",
        "Which differences between runs are real, without a model and without torch.",
    ),
    "leaderboard": Task(
        "cmi_bench.tasks.compare:run_leaderboard", "Own runs beside the figures that the paper reports."
    ),
}
