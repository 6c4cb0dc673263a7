"""The module that adapters for the public CMI-RewardBench scripts import, where those scripts are not at hand."""

import sys
from types import ModuleType

from cmi_bench.models.contract import BenchmarkBatchInput, BenchmarkModelABC

MODULE = "core.model_abc"
"""Where the public repository has the contract."""
_PACKAGE = MODULE.partition(".")[0]


def is_public_name(module: str | None) -> bool:
    """Whether a module that was not found is the public contract's."""
    return module in (_PACKAGE, MODULE)


def provide_public_names() -> None:
    """Make `from core.model_abc import BenchmarkBatchInput, BenchmarkModelABC` give the contract's own."""
    contract = ModuleType(MODULE, "The benchmark's contract, under its name in the public repository.")
    vars(contract).update(BenchmarkBatchInput=BenchmarkBatchInput, BenchmarkModelABC=BenchmarkModelABC)
    package = sys.modules.setdefault(_PACKAGE, ModuleType(_PACKAGE))
    vars(package).setdefault("__path__", [])
    vars(package)["model_abc"] = contract
    sys.modules[MODULE] = contract
