"""`metadata.json`: what was run, on what, from which code. The facts that make a number repeatable."""

import json
import logging
import platform
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from cmi_bench.config import Config
from cmi_bench.utils.files import file_digest, json_text, without_credentials, write_text_atomic

log = logging.getLogger(__name__)

METADATA_FILE = "metadata.json"
"""In a run's folder."""
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
    "av",
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


def resolved_config(config: Config) -> dict[str, Any]:
    """Return the configuration as plain values, without users and passwords of the addresses in it."""
    plain = OmegaConf.to_container(OmegaConf.structured(config), enum_to_str=True)
    assert isinstance(plain, dict)
    return {str(key): _without_credentials(value) for key, value in plain.items()}


def _without_credentials(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_credentials(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_without_credentials(one) for one in value]
    return without_credentials(value) if isinstance(value, str) else value


def run_metadata(config: Config, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Collect what is known of a run: the command, configuration, code, versions and machine.

    Args:
        config: The run's configuration.
        facts: What only the task knows (model, device, counts, seconds), merged in. The rows' file is described where
            the task has `data` to say.
    """
    from cmi_bench.audio.readers import decoder_versions  # imported here: who reads metadata decodes nothing

    file = config.data.jsonl if "data" in facts else None
    rows = {"jsonl": file, "jsonl_sha256": file_digest(Path(file))} if file else {}
    return {
        "argv": [without_credentials(word) for word in sys.argv],
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "config": resolved_config(config),
        "seed": config.seed,
        "decoder": "; ".join(f"{name} {version}" for name, version in decoder_versions().items()),
        "git": asdict(git_state(Path(__file__).parent)),
        "versions": versions(),
        "machine": machine(),
        **facts,
        "data": rows | facts.get("data", {}),
    }


def write_metadata(path: Path, metadata: Mapping[str, Any]) -> None:
    """Write `metadata.json`; a run does so at its start and again, with counts and times, at its end."""
    write_text_atomic(path, json_text(metadata, allow_nan=True))


def read_metadata(path: Path) -> dict[str, Any] | None:
    """Return what a run wrote of itself; None, with a warning unless it is simply not there, if it cannot be read.

    Nothing is computed from it: a run whose metadata are damaged can still be listed and evaluated.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        log.warning("%s cannot be read (%s): going on without what it says of the run.", path, error)
        return None
    if not isinstance(found, dict):
        log.warning("%s is no JSON object: going on without what it says of the run.", path)
        return None
    return found


def own_roots(metadata: Mapping[str, Any] | None) -> dict[str, Path]:
    """Return what the audio paths in a run's results are relative to, by dataset, for tables of the user's own."""
    own = look_up(metadata, "data", "own")
    roots = {name: look_up(own, name, "root") for name in own} if isinstance(own, Mapping) else {}
    return {str(name): Path(root) for name, root in roots.items() if isinstance(root, str)}


def look_up(metadata: Mapping[str, Any] | None, *path: str) -> Any:
    """Return what is at a path of keys; None where one of them is missing, or leads to no object."""
    found: Any = metadata
    for key in path:
        found = found.get(key) if isinstance(found, Mapping) else None
    return found
