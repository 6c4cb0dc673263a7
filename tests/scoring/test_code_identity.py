"""What is part of a score's address of the code that computes it, and what is not."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import cmi_bench
from cmi_bench.scoring import code_identity
from cmi_bench.scoring.code_identity import SETTLES_NOTHING, SETTLING, code_of, read_source

PACKAGE = Path(cmi_bench.__file__).parent
SPECS = [yaml.safe_load(path.read_text()) for path in sorted((PACKAGE.parent / "conf" / "model").glob("*.yaml"))]
SHIPPED = sorted({spec["_target_"].rpartition(".")[0] for spec in SPECS if "_target_" in spec})


def shipped(module, package=PACKAGE):
    file = package.parent.joinpath(*module.split(".")).with_suffix(".py")
    return code_of(module, file if file.is_file() else file.with_suffix("") / "__init__.py", decodes=True)


@pytest.fixture
def package(tmp_path):
    """A copy of the package's sources."""
    return Path(shutil.copytree(PACKAGE, tmp_path / "cmi_bench", ignore=shutil.ignore_patterns("__pycache__")))


SIGNAL = "cmi_bench.models.signal.model"


@pytest.mark.parametrize("file", ["models/signal/features.py", "models/base.py", "audio/decode.py", "audio/mp3.py"])
def test_a_change_of_what_computes_is_another_identity(package, file):
    before = shipped(SIGNAL, package).identity()
    with (package / file).open("a") as source:
        source.write("\nNEW = 1\n")
    assert shipped(SIGNAL, package).identity() != before


@pytest.mark.parametrize(
    "file", ["reporting/format.py", "evaluation/metrics.py", "models/hub.py", "models/cmi_rm/network.py", "errors.py"]
)
def test_a_change_of_another_file_is_not(package, file):
    before = shipped(SIGNAL, package).identity()
    with (package / file).open("a") as source:
        source.write("\nNEW = 1\n")
    assert shipped(SIGNAL, package).identity() == before


def test_of_a_library_the_version_counts(monkeypatch):
    before = shipped(SIGNAL).identity()
    version = code_identity.metadata.version
    monkeypatch.setattr(code_identity.metadata, "version", lambda name: "9.9" if name == "torch" else version(name))
    assert shipped(SIGNAL).identity() != before


@pytest.mark.parametrize("module", SHIPPED)
def test_what_shipped_models_import_is_known_to_settle_scores_or_not_to(module):
    """A module or a library that is new here has to be thought about: does it settle scores?"""
    code = shipped(module)
    assert module in code.sources
    assert "cmi_bench.audio.decode" in code.sources
    assert code.libraries <= {
        "audiobox_aesthetics", "av", "numpy", "scipy", "soundfile", "tokenizers", "torch", "torchaudio", "transformers",
    }  # fmt: skip
    others = {
        one.origin
        for source in code.sources.values()
        for one in source.imports
        if one.origin.startswith("cmi_bench.") and not f"{one.origin}.".startswith(SETTLING)
    }
    known = {f"cmi_bench.{name}" for name in ("config", "data", "data.datasets", "data.fields", "errors", "types")}
    assert {name for name in others if not name.startswith("cmi_bench.utils.")} <= known


@pytest.mark.slow
@pytest.mark.parametrize("module", ["cmi_bench.models.cmi_rm.model", SIGNAL])
def test_every_module_that_is_loaded_is_counted_or_declared(module):
    code = f"import sys, {module}; print(*(name for name in sys.modules if name.startswith('cmi_bench.')))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    counted = {name for name in loaded if name.startswith(SETTLING) and name not in SETTLES_NOTHING}
    packages = {name for name in counted if (PACKAGE.parent / name.replace(".", "/") / "__init__.py").is_file()}
    assert counted - packages <= shipped(module).sources.keys()


CUSTOM = """
from helper import weight
import numpy
class Mine:
    sr = 8000
"""


@pytest.fixture
def custom(tmp_path):
    (tmp_path / "mine.py").write_text(CUSTOM)
    (tmp_path / "helper.py").write_text("weight = 1\n")
    (tmp_path / "unrelated.py").write_text("weight = 1\n")
    return tmp_path


def identity(folder, module="mine"):
    return code_of(module, folder.joinpath(*module.split(".")).with_suffix(".py"), decodes=False).identity()


@pytest.mark.parametrize(("file", "counts"), [("mine", True), ("helper", True), ("unrelated", False)])
def test_a_custom_model_is_its_file_and_what_it_imports_beside_it(custom, file, counts):
    before = identity(custom)
    with (custom / f"{file}.py").open("a") as source:
        source.write("more = 2\n")
    assert (identity(custom) != before) is counts


def test_a_model_in_a_package_of_its_own(tmp_path):
    package = tmp_path / "pkg" / "models"
    package.mkdir(parents=True)
    (tmp_path / "pkg" / "__init__.py").write_text("")
    (package / "__init__.py").write_text("")
    (package / "mine.py").write_text("from . import near\nfrom .. import far\nfrom ..far import x\nimport beside\n")
    (package / "near.py").write_text("a = 1\n")
    (tmp_path / "pkg" / "far.py").write_text("x = 1\n")
    (tmp_path / "beside.py").write_text("x = 1\n")
    code = code_of("pkg.models.mine", package / "mine.py", decodes=False)
    assert set(code.sources) == {"pkg", "pkg.models", "pkg.models.mine", "pkg.models.near", "pkg.far"}
    assert code.libraries == {"beside"}  # whatever else is installed there


def test_comments_docstrings_and_layout_make_no_difference():
    plain = b"def f(x):\n    return x + 1\nclass A:\n    size: int\n"
    dressed = b'"""About f."""\n\ndef f(\n    x\n):\n    """Add."""\n    # one\n    return (x + 1)\n'
    dressed += b'\n\nclass A:\n    size: int\n    """In bytes."""\n'
    assert read_source(plain).digest == read_source(dressed).digest
    assert read_source(plain).digest != read_source(plain.replace(b"+ 1", b"- 1")).digest
    assert read_source(plain).digest != read_source(b'T = """text"""\n' + plain).digest


def test_what_is_for_type_checkers_only_is_not_imported():
    source = b"from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import torch\ndef f():\n    import scipy\n"
    assert [one.origin for one in read_source(source).imports] == ["typing", "scipy"]


def test_what_is_no_python_is_its_bytes():
    assert read_source(b"print 1").digest != read_source(b"print 2").digest
