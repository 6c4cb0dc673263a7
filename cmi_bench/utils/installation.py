"""How the package is used, from its checkout or installed, and what follows: its folders, and the commands to name."""

import os
from pathlib import Path

import cmi_bench
from cmi_bench.errors import UserError

PACKAGE = Path(cmi_bench.__file__).resolve().parent
CONF = "conf"
"""The folder of the configuration groups: in a checkout beside the package, in an installation inside it."""


def is_checkout() -> bool:
    """Whether the package is used from its checkout: `make env`, `pip install -e .`, or PYTHONPATH."""
    return not (PACKAGE / CONF).is_dir()


def conf_folder() -> Path:
    """Return the folder of the configuration groups that come with the package.

    Raises:
        UserError: It is not there.
    """
    folder = (PACKAGE.parent if is_checkout() else PACKAGE) / CONF
    if not (folder / "config.yaml").is_file():
        raise UserError(
            f"The package's configuration is not in {folder}.",
            "Install the package with pip, such as pip install -e . in the project's folder (or make env there).",
        )
    return folder


def project_folder() -> Path:
    """Return where data, outputs and the MLflow store are by default: the checkout, or the current folder."""
    return PACKAGE.parent if is_checkout() else Path.cwd()


def cache_folder() -> Path:
    """Return where embeddings and scores are kept by default: in the checkout, or the user's cache."""
    if is_checkout():
        return project_folder() / ".cache"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cmi-bench"
