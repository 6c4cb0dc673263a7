"""What a wheel holds."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from command_line import PROJECT


def tracked(*folders: str) -> set[str]:
    """Return the files of these folders that git knows."""
    done = subprocess.run(["git", "ls-files", "-z", *folders], cwd=PROJECT, capture_output=True, text=True, check=True)
    return {name for name in done.stdout.split("\0") if name}


def build_wheel(source: Path, target: Path) -> Path:
    words = ["wheel", "-q", "--no-deps", "--no-build-isolation", "--disable-pip-version-check", "-w", str(target)]
    subprocess.run([sys.executable, "-m", "pip", *words, str(source)], check=True, timeout=300)
    (wheel,) = target.glob("cmi_bench-*.whl")
    return wheel


@pytest.mark.slow
def test_a_wheel_holds_the_package_and_its_configuration(tmp_path):
    """Built from a copy: setuptools leaves folders of its own in what it builds."""
    source = tmp_path / "source"
    for name in tracked():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes((PROJECT / name).read_bytes())
    own = source / "conf/local/default.yaml"  # what the machine that builds it sets does not go into the wheel
    own.parent.mkdir()
    own.write_text("# @package _global_\nseed: 1\n")
    wheel = zipfile.ZipFile(build_wheel(source, tmp_path / "wheels"))
    inside = {name for name in wheel.namelist() if name.startswith("cmi_bench/")}
    assert inside == tracked("cmi_bench") | {f"cmi_bench/{name}" for name in tracked("conf")}
