"""`task=conformance` as people run it."""

import json
import sys

import pytest

from cmi_bench.errors import UserError

WORDS = ("task=conformance", "+device=cpu", "tracking=none")
MODULE = """
import numpy as np


class Sloppy:
    sr = 24000
    audio_input = "waveform"

    def score_batch(self, inputs, batch_size, max_dur, **kwargs):
        levels = np.array([float(clip.audio.std()) for clip in inputs])
        return np.stack([levels, levels + kwargs.get("shift", 0) - levels.mean() / 2], axis=1)


class NoRate(Sloppy):
    sr = None


class NoStart(Sloppy):
    def __init__(self):
        raise OSError("no weights here")
"""


@pytest.fixture
def own_module(tmp_path, monkeypatch):
    (tmp_path / "sloppy_models.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop("sloppy_models", None)


def report(folder):
    return json.loads((folder / "conformance.json").read_text())


def test_a_model_that_conforms(run_here, tmp_path, capsys):
    run_here(*WORDS, "model=signal", folder=tmp_path)
    assert capsys.readouterr().out.splitlines()[-1] == "signal conforms: 19 checks passed, 3 skipped."
    assert report(tmp_path)["conforms"]
    metadata = json.loads((tmp_path / "metadata.json").read_text())
    assert (metadata["status"], metadata["counts"]) == ("finished", {"passed": 19, "failed": 0, "skipped": 3})


def test_one_that_does_not_is_an_error_with_the_table_before_it(own_module, run_here, tmp_path, capsys):
    words = ["model=custom", "model.class_path=sloppy_models:Sloppy", "+model.score_kwargs.shift=10"]
    with pytest.raises(UserError, match=r"Sloppy does not conform: 2 of 22 checks failed \(batch, mixed references\)"):
        run_here(*WORDS, *words, folder=tmp_path)
    out = capsys.readouterr().out
    assert [line.split()[1] for line in out.splitlines() if line.startswith(" batch ")] == ["failed"]
    findings = {one["check"]: one for one in report(tmp_path)["findings"]}
    assert "musicality" in findings["batch"]["detail"]
    assert "musicality 10" in findings["silence"]["detail"]
    assert json.loads((tmp_path / "metadata.json").read_text())["status"] == "finished"


@pytest.mark.parametrize(
    ("name", "check", "says"),
    [("NoRate", "sampling rate", "sr is None"), ("NoStart", "construction", "Raises OSError: no weights here")],
)
def test_one_that_cannot_be_asked(own_module, run_here, tmp_path, name, check, says):
    with pytest.raises(UserError, match=rf"{name} does not conform: 1 of 1 checks failed \({check}\)"):
        run_here(*WORDS, "model=custom", f"model.class_path=sloppy_models:{name}", folder=tmp_path)
    assert says in report(tmp_path)["findings"][0]["detail"]


def test_a_model_that_knows_labels_only_is_not_asked(run_here, tmp_path):
    with pytest.raises(UserError, match="answers from the labels"):
        run_here(*WORDS, "model=oracle", folder=tmp_path)
