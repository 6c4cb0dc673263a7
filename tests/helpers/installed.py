"""The package as an installation has it."""

import shutil
from pathlib import Path

import pytest
from command_line import PROJECT

from cmi_bench.utils import installation


def pretend_installed(monkeypatch: pytest.MonkeyPatch, folder: Path) -> Path:
    """Make the package believe that it is installed below a folder; return what it takes for its own folder."""
    package = folder / "site-packages" / "cmi_bench"
    shutil.copytree(PROJECT / "conf", package / "conf")
    monkeypatch.setattr(installation, "PACKAGE", package)
    return package
