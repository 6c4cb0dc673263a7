import json

import pytest
import torch
from safetensors import safe_open

from benchmarks import workload
from benchmarks.tower import tower_operations
from cmi_bench.models.cmi_rm import CmiRM


def test_checkpoints_load_strictly_and_share_their_encoders(narrow, tmp_path):
    one, other = (CmiRM(str(path)) for path in workload.write_checkpoints(tmp_path, 2))

    assert one.audio_identity == other.audio_identity
    assert one.text_identity == other.text_identity
    assert one.identity != other.identity
    assert one.encode_audio([torch.randn(24000)])[0].shape == (25, 16)
    assert len(one.encode_texts(["a song"])[0]) == len("a song") + 2


def test_each_checkpoint_holds_its_head_only(narrow, tmp_path):
    checkpoint, *_ = workload.write_checkpoints(tmp_path, 1)

    with safe_open(checkpoint / "model.safetensors", "pt") as file:
        assert not any(name.startswith(("audio_module.", "text_module.")) for name in file.keys())  # noqa: SIM118


def test_a_whole_checkpoint_needs_no_other_weights(narrow, tmp_path):
    checkpoint = workload.write_whole_checkpoint(tmp_path)

    assert [path.parent.name for path in tmp_path.rglob("*.safetensors")] == ["whole"]
    assert CmiRM(str(checkpoint)).encode_audio([torch.randn(24000)])[0].shape == (25, 16)


def test_the_released_sizes_take_the_operations_that_were_counted_for_them(tmp_path):
    checkpoint = tmp_path / "step_0"
    checkpoint.mkdir()
    workload.write_base(tmp_path)
    (checkpoint / "config.yaml").write_text(json.dumps({"model": workload.REWARD}))

    assert tower_operations(checkpoint) == pytest.approx(1.3e12, rel=0.07)
