"""Digests of the network's parts."""

import shutil

import pytest
from safetensors.torch import load_file, save_file

from cmi_bench.models import weights
from cmi_bench.models.cmi_rm.checkpoint import load_cmi_rm, part_digests
from cmi_bench.models.hub import find_checkpoint

ENCODERS = ("audio_module.", "text_module.")
DIGEST = "cmi_bench.models.cmi_rm.checkpoint.tensors_digest"


@pytest.fixture
def heads(bundle_copy):
    """Two checkpoints that leave their encoders to MuQ-MuLan."""
    folder = bundle_copy("sa_mean")
    tensors = load_file(folder / "sa_mean" / "model.safetensors")
    head = {name: tensor for name, tensor in tensors.items() if not name.startswith(ENCODERS)}
    for number in (1, 2):
        shutil.copytree(folder / "sa_mean", folder / f"step_{number}")
        save_file(
            {name: number * tensor for name, tensor in head.items()}, folder / f"step_{number}" / "model.safetensors"
        )
    return [load_cmi_rm(find_checkpoint(str(folder / f"step_{number}"))) for number in (1, 2)]


def test_checkpoints_over_one_base_share_its_digests(heads, tmp_path, monkeypatch):
    monkeypatch.setattr(weights, "SETTLED", -1.0)
    first, second = (part_digests(loaded) for loaded in heads)
    assert first["audio"] == second["audio"]
    assert first["text"] == second["text"]
    assert first["scorer"] != second["scorer"]

    read = []
    made = part_digests.__globals__["tensors_digest"]
    monkeypatch.setattr(DIGEST, lambda tensors: read.append(tensors) or made(tensors))
    assert [part_digests(loaded, tmp_path / "kept") for loaded in heads] == [first, second]
    assert len(read) == 4, "audio and text once, and each head"
    assert [part_digests(loaded, tmp_path / "kept") for loaded in heads] == [first, second]
    assert len(read) == 4


def test_where_the_tensors_are_from(heads, bundle):
    assert [file.parent.name for file in heads[0].weights["audio"]] == ["muq-mulan"]
    assert [file.parent.name for file in heads[0].weights["scorer"]] == ["step_1"]
    whole = load_cmi_rm(find_checkpoint(str(bundle / "sa_mean")))
    assert {file.parent.name for files in whole.weights.values() for file in files} == {"sa_mean"}
