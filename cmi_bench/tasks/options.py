"""The options of the configuration's groups, and the tasks, each with the sentence that stands in its file."""

import ast
import re
from collections.abc import Iterator
from importlib.util import find_spec
from itertools import takewhile
from pathlib import Path

from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig

from cmi_bench.models.installed import installed_models
from cmi_bench.reporting.listing.options_table import Option
from cmi_bench.tasks import TASKS

FIRST = ("model", "data", "subset", "metrics", "device")
"""Groups in this order; others follow."""
NOT_SHOWN = frozenset({"hydra", "trainer"})
NUMBERED = "cuda:"
"""Device names that differ by their number only are shown as one."""


def all_options() -> Iterator[Option]:
    """Yield the tasks, then each group's options: those of the project, and of any `--config-dir`."""
    for task, module in TASKS.items():
        yield Option("task=", task, _task_sentence(module))
    groups = GlobalHydra.instance().config_loader().list_groups("")
    others = sorted(set(groups) - set(FIRST) - NOT_SHOWN)
    for group in (*(name for name in FIRST if name in groups), *others):
        yield from _group_options(group)


def _group_options(group: str) -> Iterator[Option]:
    # A group without a default is chosen with a plus.
    key = f"{group}=" if group in HydraConfig.get().runtime.choices else f"+{group}="
    names = GlobalHydra.instance().config_loader().get_group_options(group)
    for name in names:
        if not name.startswith(NUMBERED):
            yield Option(key, name, _config_sentence(group, name))
    numbers = [int(name.removeprefix(NUMBERED)) for name in names if name.startswith(NUMBERED)]
    if numbers:
        yield Option(key, f"{NUMBERED}0", f"One GPU by its number, up to {NUMBERED}{max(numbers)}.")


def _config_sentence(group: str, name: str) -> str:
    """Return the first sentence of an option's YAML file, or whose model it is; empty where nothing is known."""
    for source in HydraConfig.get().runtime.config_sources:
        path = Path(source.path) / group / f"{name}.yaml"
        if source.schema == "file" and path.is_file():
            head = takewhile(lambda line: line.startswith("#"), path.read_text(encoding="utf-8").splitlines())
            words = " ".join(line[1:].strip() for line in head if not line.startswith("# @package"))
            return _first_sentence(words)
    installed = {model.name: model.package for model in installed_models()} if group == "model" else {}
    return f"Of the installed package {installed[name]}." if name in installed else ""


def _first_sentence(text: str) -> str:
    return re.split(r"(?<=\.)\s", text, maxsplit=1)[0]


def _task_sentence(module: str) -> str:
    """Return what a task's docstring says after its name; the module is read, not imported."""
    spec = find_spec(module)
    assert spec is not None
    assert spec.origin is not None
    docstring = ast.get_docstring(ast.parse(Path(spec.origin).read_text(encoding="utf-8"))) or ""
    sentence = _first_sentence(docstring)
    said = sentence.partition("`: ")[2] or sentence
    return said[:1].upper() + said[1:]
