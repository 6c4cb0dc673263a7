"""What the project says of itself, and what a wheel holds."""

import re
import zipfile

import pytest
import yaml
from command_line import PROJECT
from installed import source_files

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


@pytest.mark.slow
def test_a_wheel_holds_the_package_and_its_configuration(installation):
    wheel = zipfile.ZipFile(installation.wheel)
    inside = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert inside == source_files("cmi_bench") | {f"cmi_bench/{name}" for name in source_files("conf")}
    assert "cmi_bench/py.typed" in inside
    (licence,) = (name for name in wheel.namelist() if name.endswith("/LICENSE"))
    metadata = wheel.read(f"{licence.partition('/')[0]}/METADATA").decode()
    for line in ("License-Expression: Apache-2.0", "Classifier: Typing :: Typed", "# CMI-RewardBench", "Project-URL: "):
        assert f"\n{line}" in metadata
