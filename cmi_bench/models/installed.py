"""Models of other installed packages, which name them in their metadata.

    [project.entry-points."cmi_bench.models"]
    my_rm = "my_package.rewards:MyRM"

makes `model=my_rm` known. Nothing of the package is imported before it is chosen.
"""

import logging
from collections.abc import Container
from importlib.metadata import entry_points
from typing import Any, NamedTuple

log = logging.getLogger(__name__)

GROUP = "cmi_bench.models"
"""Entry points of this group are models."""


class InstalledModel(NamedTuple):
    """A model that an installed package offers."""

    name: str
    class_path: str
    """module:Class."""
    package: str

    def config(self) -> dict[str, Any]:
        """Return what is `model` in the configuration: as for model=custom."""
        return {
            "name": self.name,
            "class_path": self.class_path,
            "checkpoint": None,
            "init_kwargs": {},
            "score_kwargs": {},
        }


def installed_models(taken: Container[str] = ()) -> list[InstalledModel]:
    """Return the models of installed packages.

    Args:
        taken: Names that the benchmark's own configurations have: those win, with a warning.
    """
    found: dict[str, InstalledModel] = {}
    for point in entry_points(group=GROUP):
        package = point.dist.name if point.dist else "an unknown package"
        model = InstalledModel(point.name, f"{point.module}:{point.attr}", package)
        if point.name in taken or found.get(point.name, model) != model:
            log.warning("The model %s of the package %s is left out: the name is taken.", point.name, package)
            continue
        found[point.name] = model
    return list(found.values())
