import json

import pytest
import torch
from safetensors import safe_open

from benchmarks import workload
from benchmarks.tower import tower_operations
from cmi_bench.models.cmi_rm import CmiRM


@pytest.fixture
def narrow(monkeypatch):
    """Shrink the network; the way it is written stays the same."""
    monkeypatch.setattr(workload, "REWARD", workload.REWARD | {"dim": 16, "heads": 2, "dim_head": 8, "mlp_dim": 8})
    transformer = workload.TRANSFORMER | {"dim": 16, "tf_depth": 1, "heads": 2, "dim_head": 8}
    monkeypatch.setattr(
        workload,
        "MULAN",
        workload.MULAN
        | {
            "audio_model": {"name": "muq", "model_dim": 16},
            "text_model": {"name": "xlm-roberta", "model_dim": None},
            "audio_transformer": transformer,
            "text_transformer": transformer | {"max_seq_len": 64},
        },
    )
    conformer = workload.MUQ["w2v2_config"] | {"num_attention_heads": 2, "intermediate_size": 16}
    sizes = {"conv_dim": 4, "encoder_dim": 16, "encoder_depth": 1, "w2v2_config": conformer}
    monkeypatch.setattr(workload, "MUQ", workload.MUQ | sizes)
    text = {"vocab_size": 100, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    monkeypatch.setattr(workload, "XLMR", workload.XLMR | text | {"intermediate_size": 16})


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


def test_the_released_sizes_take_the_operations_that_were_counted_for_them(tmp_path):
    checkpoint = tmp_path / "step_0"
    checkpoint.mkdir()
    workload.write_base(tmp_path)
    (checkpoint / "config.yaml").write_text(json.dumps({"model": workload.REWARD}))

    assert tower_operations(checkpoint) == pytest.approx(1.3e12, rel=0.07)
