"""The package as an installation has it: pretended, and built and installed in earnest."""

import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path
from typing import NamedTuple

import pytest
from command_line import PROJECT, Done

from cmi_bench.utils import installation


def pretend_installed(monkeypatch: pytest.MonkeyPatch, folder: Path) -> Path:
    """Make the package believe that it is installed below a folder; return what it takes for its own folder."""
    package = folder / "site-packages" / "cmi_bench"
    shutil.copytree(PROJECT / "conf", package / "conf")
    monkeypatch.setattr(installation, "PACKAGE", package)
    return package


WATCH = """
import os, sys
_FORBIDDEN = {forbidden!r}
def _watch(event, arguments):
    if event in ("open", "os.listdir", "os.scandir") and isinstance(arguments[0], (str, os.PathLike)):
        if os.path.abspath(arguments[0]).startswith(_FORBIDDEN):
            raise RuntimeError(f"the checkout is read: {{arguments[0]}}")
sys.addaudithook(_watch)
"""
"""A module that every process of the environment imports first."""


class Installation(NamedTuple):
    """A wheel in an environment of its own, with the dependencies of the running one."""

    environment: Path
    wheel: Path
    """Built from the source distribution."""

    def run(self, *words: str, cwd: Path, **variables: str) -> Done:
        """Run a command of the environment, such as "cmi-bench" or "python", with no more of this one's environment.

        Args:
            words: The command and its words.
            cwd: Working directory; the user's home is `cwd.parent / "home"`.
            variables: Further environment variables.
        """
        clean = {
            "PATH": f"{self.environment / 'bin'}:/usr/bin:/bin",
            "HOME": str(cwd.parent / "home"),
            "LANG": "C.UTF-8",
        }
        clean |= {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "COLUMNS": "200"}
        command = [str(self.environment / "bin" / words[0]), *words[1:]]
        done = subprocess.run(command, cwd=cwd, env=clean | variables, capture_output=True, text=True, timeout=300)
        return Done(done.returncode, done.stdout, done.stderr)


def source_files(*folders: str) -> set[str]:
    """Return the files of the project, or of some folders of it, that git knows or would add."""
    words = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", *folders]
    listed = subprocess.run(words, cwd=PROJECT, capture_output=True, text=True, check=True).stdout.split("\0")
    return {name for name in listed if name and (PROJECT / name).is_file()}


def install(folder: Path) -> Installation:
    """Build a source distribution, of that a wheel, and install it into an environment; nothing is downloaded.

    A folder in which that was done is taken as it is.
    """
    source, environment, done = folder / "source", folder / "environment", folder / "done"
    if not done.exists():
        _install(folder, source, environment)
        done.touch()
    (wheel,) = folder.glob("cmi_bench-*.whl")
    return Installation(environment, wheel)


def _install(folder: Path, source: Path, environment: Path) -> None:
    for name in source_files():  # setuptools leaves folders of its own in what it builds
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(PROJECT / name, source / name)
    own = source / "conf/local/default.yaml"  # what the machine sets that builds it goes nowhere
    own.parent.mkdir()
    own.write_text("# @package _global_\nseed: 1\n")
    build = f"from setuptools import build_meta; build_meta.build_sdist({str(folder)!r})"
    subprocess.run([sys.executable, "-c", build], cwd=source, check=True, capture_output=True, timeout=120)
    (sdist,) = folder.glob("cmi_bench-*.tar.gz")
    _pip("wheel", "--no-deps", "--no-build-isolation", "-w", str(folder), str(sdist))
    (wheel,) = folder.glob("cmi_bench-*.whl")
    venv.create(environment, symlinks=True)
    _pip("--python", str(environment / "bin" / "python"), "install", "--no-deps", str(wheel))
    (packages,) = environment.glob("lib/python*/site-packages")
    forbidden = tuple(str(PROJECT / name) for name in ("cmi_bench", "conf", "run.py", "tests"))
    (packages / "watch_checkout.py").write_text(WATCH.format(forbidden=forbidden))
    # One more place for modules; the .pth files in it, such as an editable package's, are not read.
    (packages / "dependencies.pth").write_text(f"import watch_checkout\n{sysconfig.get_path('purelib')}\n")


def _pip(*words: str) -> None:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", *words]
    subprocess.run(command, check=True, timeout=300)
