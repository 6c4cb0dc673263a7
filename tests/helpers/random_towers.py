"""A small audio tower with all its parts."""

from cmi_bench.models.muq.config import MulanConfig, MuqConfig
from cmi_bench.models.muq.towers import AudioTower


def small_tower() -> AudioTower:
    """Return a tower of sizes that are worth measuring."""
    transformer = {"dim": 256, "tf_depth": 2, "heads": 4, "dim_head": 32, "ff_mult": 4}
    mulan = MulanConfig.model_validate(
        {
            "mulan": {"sr": 24_000},
            "audio_model": {"name": "muq", "model_dim": 256},
            "text_model": {"name": "xlm-roberta"},
            "audio_transformer": transformer,
            "text_transformer": transformer | {"max_seq_len": 512},
        }
    )
    muq = MuqConfig.model_validate(
        {
            "label_rate": 25,
            "hop_length": 240,
            "n_mels": 32,
            "stat": {"melspec_2048_mean": 6.5, "melspec_2048_std": 18.0},
            "conv_dim": 64,
            "encoder_dim": 256,
            "encoder_depth": 2,
            "w2v2_config": {
                "num_attention_heads": 4,
                "intermediate_size": 512,
                "conv_depthwise_kernel_size": 31,
                "layer_norm_eps": 1e-5,
                "position_embeddings_type": "rotary",
                "hidden_act": "swish",
            },
        }
    )
    return AudioTower(mulan, muq)
