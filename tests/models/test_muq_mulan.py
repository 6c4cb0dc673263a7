"""MuQ-MuLan: parity, windows, references, strictness."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from cmi_bench.audio.decode import decode
from cmi_bench.errors import UserError
from cmi_bench.models.base import BenchmarkBatchInput
from cmi_bench.models.muq_mulan import MuQMuLan, windows_of

BUNDLE = Path(__file__).parents[1] / "data" / "parity" / "cmi_rm"
EXPECTED = json.loads((BUNDLE / "expected_baselines.json").read_text())


@pytest.fixture(scope="module")
def model():
    return MuQMuLan(str(BUNDLE / "muq-mulan"))


@pytest.fixture
def copy(tmp_path):
    for name in ("muq-mulan", "muq", "xlm-roberta"):
        shutil.copytree(BUNDLE / name, tmp_path / name)
    return tmp_path


def clip(name, text="", reference=None):
    return BenchmarkBatchInput(
        str(BUNDLE / "audio" / name), text=text, ref_audio=reference and str(BUNDLE / "audio" / reference)
    )


def edit(folder, change):
    tensors = load_file(folder / "muq-mulan/model.safetensors")
    change(tensors)
    save_file(tensors, folder / "muq-mulan/model.safetensors")


def test_parity(model):
    scores = model.score_batch([clip(item["audio"], item["text"]) for item in EXPECTED["items"]], 4, 120.0)
    np.testing.assert_allclose(scores[:, 0], EXPECTED["muq_mulan_similarity"], atol=1e-5)
    assert np.isnan(scores[:, 1]).all()


def test_an_empty_prompt_is_music(model):
    empty, blank, music, other = (clip("a_24k_4s.flac", text) for text in ("", " \n", "music", "jazz"))
    scores = model.score_batch([empty, blank, music, other], 4, 120.0)[:, 0]
    assert scores[0] == scores[1] == scores[2] != scores[3]


def test_windows():
    clip = torch.arange(25)
    assert [window.tolist() for window in windows_of(clip, 10)] == [
        [*range(10)], [*range(10, 20)], [*range(20, 25), *range(5)],
    ]  # fmt: skip
    assert windows_of(clip[:3], 10)[0].tolist() == [0, 1, 2, 0, 1, 2]  # all there is, twice: what the public code does
    assert windows_of(clip[:20], 10)[1].tolist() == [*range(10, 20)]


def test_references(model):
    ignore, mean, only = (MuQMuLan(str(BUNDLE / "muq-mulan"), reference=kind) for kind in ("ignore", "mean", "only"))
    given, bare = clip("a_24k_4s.flac", "jazz", "ref_48k_3s.flac"), clip("a_24k_4s.flac", "jazz")
    text = ignore.score_batch([given], 1, 120.0)[0, 0]
    reference = only.score_batch([given], 1, 120.0)[0, 0]
    assert mean.score_batch([given], 1, 120.0)[0, 0] == pytest.approx((text + reference) / 2, abs=1e-6)
    for one in (ignore, mean, only):
        assert one.score_batch([bare], 1, 120.0)[0, 0] == text
    itself = decode(BUNDLE / "audio/b_44k_stereo_3s.flac", 24_000)
    alike = only.score_batch([BenchmarkBatchInput(itself, text="jazz", ref_audio=itself.clone())], 1, 120.0)[0, 0]
    assert alike == pytest.approx(1.0, abs=1e-5)
    assert len({one.identity for one in (ignore, mean, only)}) == 3
    assert len({one.audio_identity for one in (ignore, mean, only)}) == 1
    with pytest.raises(UserError, match=r"(?s)reference='men' is none of ignore, mean, only.*Did you mean mean"):
        MuQMuLan(str(BUNDLE / "muq-mulan"), reference="men")


def test_bf16_is_near(model):
    near = MuQMuLan(str(BUNDLE / "muq-mulan"), precision="bf16").score_batch([clip("a_24k_4s.flac")], 1, 120.0)[0, 0]
    assert 0 < abs(near - model.score_batch([clip("a_24k_4s.flac")], 1, 120.0)[0, 0]) < 0.05


def test_no_layers_above_muq(copy):
    """As in the released model, whose audio transformer has none."""
    config = copy / "muq-mulan/config.json"
    values = json.loads(config.read_text())
    values["audio_transformer"]["tf_depth"] = 0
    config.write_text(json.dumps(values))
    edit(copy, lambda t: [t.pop(name) for name in list(t) if name.startswith("mulan.audio.transformer")])
    scores = MuQMuLan(str(copy / "muq-mulan")).score_batch([clip("a_24k_4s.flac", "jazz")], 1, 120.0)
    assert -1 <= scores[0, 0] <= 1


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda t: t.pop("mulan.audio_to_latents.bias"), r"missing tensor mulan\.audio_to_latents\.bias"),
        (lambda t: t.update({"mulan.extra": torch.zeros(1)}), r"unexpected tensor mulan\.extra"),
        (lambda t: t.pop("mulan.text.model.embeddings.LayerNorm.bias"), "missing tensor mulan.text.model.embeddings"),
    ],
)
def test_tensors_are_named(copy, change, says):
    edit(copy, change)
    with pytest.raises(UserError, match=says):
        MuQMuLan(str(copy / "muq-mulan"))


def test_weights_as_they_were_released(copy, model):
    """There is no safetensors file of the released model."""
    file = copy / "muq-mulan/model.safetensors"
    torch.save(load_file(file), file.with_name("pytorch_model.bin"))
    file.unlink()
    released = MuQMuLan(str(copy / "muq-mulan"))
    given = [clip("a_24k_4s.flac", "jazz")]
    np.testing.assert_allclose(released.score_batch(given, 1, 120.0), model.score_batch(given, 1, 120.0), atol=1e-6)
    torch.save({"mulan.extra": torch.zeros(1)}, file.with_name("pytorch_model.bin"))
    with pytest.raises(UserError, match=r"pytorch_model\.bin: unexpected tensor mulan\.extra"):
        MuQMuLan(str(copy / "muq-mulan"))
    torch.save({"mulan.extra": MuQMuLan}, file.with_name("pytorch_model.bin"))
    with pytest.raises(UserError, match=r"Cannot read .*pytorch_model\.bin"):
        MuQMuLan(str(copy / "muq-mulan"))


def test_missing_parts_are_named(copy):
    with pytest.raises(UserError, match=r"There is no model .*nowhere"):
        MuQMuLan(str(copy / "nowhere"))
    (copy / "xlm-roberta/tokenizer.json").unlink()
    with pytest.raises(UserError, match=r"xlm-roberta holds no tokenizer\.json"):
        MuQMuLan(str(copy / "muq-mulan"))
