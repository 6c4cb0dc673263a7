"""What was run, on what, from which code: the facts that make a number repeatable."""

import hashlib
import platform
import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = (
    "cmi-bench",
    "google-genai",
    "hydra-core",
    "huggingface_hub",
    "lightning",
    "mlflow",
    "numpy",
    "pandas",
    "safetensors",
    "scipy",
    "soundfile",
    "torch",
    "torchaudio",
    "torchcodec",
    "transformers",
)


@dataclass(frozen=True)
class GitState:
    """The code's revision."""

    commit: str | None
    """None outside a git checkout."""
    dirty: bool | None
    """Whether tracked files differ from the commit."""


def git_state(folder: Path) -> GitState:
    """Return the revision of the checkout that `folder` is in, if it is in one."""
    commit = _git(folder, "rev-parse", "HEAD")
    if commit is None:
        return GitState(None, None)
    return GitState(commit, bool(_git(folder, "status", "--porcelain", "--untracked-files=no")))


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=False)
    except FileNotFoundError:  # no git on this machine
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that decide over numbers, without importing them."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def machine() -> dict[str, str]:
    """Return what kind of machine this is; no host name, as results are shared."""
    return {"platform": platform.platform(), "processor": platform.machine(), "executable": Path(sys.executable).name}


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
