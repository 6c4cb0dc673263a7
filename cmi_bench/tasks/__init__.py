"""One file per `task=`; this table names them without importing any, so that no task pays for another."""

TASKS = {
    "benchmark": "cmi_bench.tasks.benchmark",
    "cache": "cmi_bench.tasks.cache",
    "prepare": "cmi_bench.tasks.prepare",
    "doctor": "cmi_bench.tasks.doctor",
    "evaluate": "cmi_bench.tasks.evaluate",
    "list": "cmi_bench.tasks.list_all",
    "sanity": "cmi_bench.tasks.sanity",
    "conformance": "cmi_bench.tasks.conformance",
    "new_model": "cmi_bench.tasks.new_model",
    "compare": "cmi_bench.tasks.compare",
    "leaderboard": "cmi_bench.tasks.leaderboard",
}
"""Task name to the module whose `run(config, folder)` does it."""
