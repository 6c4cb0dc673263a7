"""A small Audiobox Aesthetics with random weights, saved as the released one is."""

import json

import torch

SIZES = {
    "encoder_layers": 2, "encoder_embed_dim": 32, "encoder_ffn_embed_dim": 64, "encoder_attention_heads": 2,
    "conv_feature_layers": "[(16,10,5)] + [(16,3,2)] * 4 + [(16,2,2)] * 2",
}  # fmt: skip
TRANSFORM = {axis: {"mean": 5.0 + place, "std": 2.0} for place, axis in enumerate(("CE", "CU", "PC", "PQ"))}
MODEL_CFG = {
    "proj_num_layer": 2, "proj_ln": True, "proj_act_fn": "gelu", "proj_dropout": 0, "nth_layer": 3,
    "use_weighted_layer_sum": True, "precision": "32", "normalize_embed": True, "output_dim": 1,
}  # fmt: skip


def make_small(monkeypatch):
    """Make the package's network a small one; its sizes are a constant there."""
    from audiobox_aesthetics.model import aes
    from audiobox_aesthetics.model.wavlm import WavLMConfig

    monkeypatch.setattr(aes, "DEFAULT_AUDIO_CFG", WavLMConfig(vars(aes.DEFAULT_AUDIO_CFG) | SIZES))


def small_network():
    """The package's network, small and random; the same one each time."""
    from audiobox_aesthetics.model.aes import AesMultiOutput

    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = AesMultiOutput(**MODEL_CFG, target_transform=TRANSFORM)
        for parameter in network.proj_layer.parameters():
            torch.nn.init.normal_(parameter, std=0.5)
    return network.eval()


def save_small_audiobox(folder):
    """Save as on the hub: `config.json` and `model.safetensors`."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    save_file(small_network().state_dict(), folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(MODEL_CFG | {"target_transform": TRANSFORM, "freeze_encoder": True}))
    return folder


def save_small_checkpoint(file, **more):
    """Save as the package's own `checkpoint.pt`."""
    state = {f"model.{name}": tensor for name, tensor in small_network().state_dict().items()}
    torch.save({"state_dict": state, "model_cfg": MODEL_CFG, "target_transform": TRANSFORM, **more}, file)
    return file
