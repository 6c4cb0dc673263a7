import pytest

from benchmarks import workload


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
