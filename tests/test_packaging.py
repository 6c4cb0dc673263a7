"""What the project says of itself, and what a wheel holds."""

import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml
from command_line import PROJECT

import cmi_bench


def test_package_changelog_and_citation_have_the_same_version():
    heading = re.search(r"^## (\S+?),? ", (PROJECT / "CHANGELOG.md").read_text(), re.MULTILINE)
    citation = yaml.safe_load((PROJECT / "CITATION.cff").read_text())
    assert heading is not None
    assert citation["version"] == heading[1] == cmi_bench.__version__


def test_the_citation_has_what_its_format_needs():
    """Format 1.2 of citation-file-format.org: the keys that must be there, of each reference too."""
    citation = yaml.safe_load((PROJECT / "CITATION.cff").read_text())
    assert citation["cff-version"] == "1.2.0" and citation["message"]
    assert all({"title", "authors", "type"} <= one.keys() for one in (citation, *citation["references"]))


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
    assert "cmi_bench/py.typed" in inside
    (licence,) = (name for name in wheel.namelist() if name.endswith("/LICENSE"))
    metadata = wheel.read(f"{licence.partition('/')[0]}/METADATA").decode()
    for line in ("License-Expression: Apache-2.0", "Classifier: Typing :: Typed", "# CMI-RewardBench", "Project-URL: "):
        assert f"\n{line}" in metadata
