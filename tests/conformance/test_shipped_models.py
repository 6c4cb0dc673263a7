"""The adapters of published models, on small networks with random weights."""

from pathlib import Path

import pytest
from tiny_audiobox import make_small, save_small_audiobox
from tiny_clap import save_small_clap

from cmi_bench.conformance.run import assert_conforms
from cmi_bench.models.clap import Clap
from cmi_bench.models.muq_mulan import MuQMuLan
from cmi_bench.models.songeval import SongEvalRM

BUNDLE = Path(__file__).parents[1] / "data" / "parity" / "cmi_rm"


def test_songeval(tmp_path):
    model = SongEvalRM(str(BUNDLE / "songeval"), str(BUNDLE / "muq"), hidden_state=1, dimension="musicality")
    assert_conforms(model, tmp_path)


@pytest.mark.parametrize("reference", ["ignore", "mean"])
def test_muq_mulan(tmp_path, reference):
    assert_conforms(MuQMuLan(str(BUNDLE / "muq-mulan"), reference=reference), tmp_path)


def test_clap(tmp_path):
    assert_conforms(Clap(str(save_small_clap(tmp_path / "clap")), reference="only"), tmp_path)


def test_audiobox(tmp_path, monkeypatch):
    pytest.importorskip("audiobox_aesthetics")
    from cmi_bench.models.audiobox import Audiobox

    make_small(monkeypatch)
    assert_conforms(Audiobox(str(save_small_audiobox(tmp_path / "audiobox")), "CE"), tmp_path)
