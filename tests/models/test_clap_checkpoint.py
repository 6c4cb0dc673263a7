"""CLAP in LAION's own layout: equal to the network of `transformers`, strict, converted once, and safe to read."""

import pickle
import zipfile

import numpy as np
import pytest
import torch
from safetensors import safe_open
from tiny_clap import CONFIG, DEPTHS, SR, changing_music, laion_tensors, save_laion_clap, save_small_clap
from transformers import AutoTokenizer, ClapFeatureExtractor, ClapModel

from cmi_bench.errors import NotFetchedError, UserError
from cmi_bench.models.base import BenchmarkBatchInput
from cmi_bench.models.clap import Clap
from cmi_bench.models.clap_checkpoint import convert_original
from cmi_bench.models.weights import read_checkpoint

PROMPT = "a cheerful pop song with bright piano"


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return save_laion_clap(tmp_path_factory.mktemp("laion"))


@pytest.fixture(scope="module")
def model(file):
    return Clap(str(file))


@pytest.fixture(scope="module")
def music():
    return changing_music(seconds=12)


def library_network(tensors):
    """Return `transformers`' network with LAION's tensors, each put into its module by hand."""
    network = ClapModel(CONFIG).eval()

    def put(module, name, **parts):
        values = {"weight": tensors[f"{name}.weight"], "bias": tensors.get(f"{name}.bias")} | parts
        with torch.no_grad():
            for key, value in values.items():
                if value is not None:
                    getattr(module, key).copy_(value)

    for branch in ("audio", "text"):
        projection = getattr(network, f"{branch}_projection")
        put(projection.linear1, f"{branch}_projection.0")
        put(projection.linear2, f"{branch}_projection.2")
    audio, name = network.audio_model.audio_encoder, "audio_branch"
    put(audio.batch_norm, f"{name}.bn0", running_mean=tensors[f"{name}.bn0.running_mean"],
        running_var=tensors[f"{name}.bn0.running_var"])  # fmt: skip
    put(audio.patch_embed.proj, f"{name}.patch_embed.proj")
    put(audio.patch_embed.norm, f"{name}.patch_embed.norm")
    put(audio.norm, f"{name}.norm")
    for i, depth in enumerate(DEPTHS):
        layer = audio.layers[i]
        for j in range(depth):
            block, at = layer.blocks[j], f"{name}.layers.{i}.blocks.{j}"
            put(block.layernorm_before, f"{at}.norm1")
            put(block.layernorm_after, f"{at}.norm2")
            put(block.attention.output.dense, f"{at}.attn.proj")
            put(block.intermediate.dense, f"{at}.mlp.fc1")
            put(block.output.dense, f"{at}.mlp.fc2")
            attention, dim = block.attention.self, 8 * 2**i
            with torch.no_grad():
                attention.relative_position_bias_table.copy_(tensors[f"{at}.attn.relative_position_bias_table"])
            for part, third in zip((attention.query, attention.key, attention.value), range(3), strict=True):
                rows = slice(third * dim, (third + 1) * dim)
                put(part, f"{at}.attn.qkv", weight=tensors[f"{at}.attn.qkv.weight"][rows],
                    bias=tensors[f"{at}.attn.qkv.bias"][rows])  # fmt: skip
        if i < len(DEPTHS) - 1:
            put(layer.downsample.reduction, f"{name}.layers.{i}.downsample.reduction")
            put(layer.downsample.norm, f"{name}.layers.{i}.downsample.norm")
    words = {key.removeprefix("text_branch."): one for key, one in tensors.items() if key.startswith("text_branch.")}
    network.text_model.load_state_dict(words, strict=False)
    return network


@pytest.mark.parametrize("seconds", [10.0, 3.0])
def test_equal_to_the_network_of_transformers(model, file, music, seconds):
    waveform = music[: int(seconds * SR)]
    rounded = torch.from_numpy((waveform.numpy() * 32767).astype("int16") / 32767)
    features = ClapFeatureExtractor(truncation="rand_trunc", frequency_min=50)(
        [rounded.numpy()], sampling_rate=SR, return_tensors="pt"
    )
    tokens = AutoTokenizer.from_pretrained(file.parent)(PROMPT, return_tensors="pt")
    network = library_network(laion_tensors())
    with torch.inference_mode():
        audio = network.get_audio_features(features["input_features"].float(), features["is_longer"]).pooler_output
        text = network.get_text_features(tokens["input_ids"], tokens["attention_mask"]).pooler_output
    normalised = torch.nn.functional.normalize(audio, dim=-1)
    found = model.embed_audio([waveform], 120.0, is_reference=False)[0][0]
    torch.testing.assert_close(found, normalised, atol=1e-5, rtol=0)
    torch.testing.assert_close(
        model.embed_texts([PROMPT])[0], torch.nn.functional.normalize(text, dim=-1), atol=1e-5, rtol=0
    )
    assert model.embed_texts(["deep house groove"])[0].sub(found).abs().max() > 0.01


def test_sizes_and_rate_come_from_the_file(model):
    config = model.network.config
    assert (config.audio_config.depths, config.text_config.num_attention_heads) == (list(DEPTHS), 1)
    assert model.sr == SR
    assert model.window == 10 * SR


def test_samples_are_rounded_to_16_bits_toward_zero(model, music):
    fine = music[:SR] * 0.01
    rounded = torch.from_numpy((fine.numpy() * 32767).astype("int16") / 32767).float()
    embed = lambda waveform: model.embed_audio([waveform], 120.0, is_reference=False)[0][0]  # noqa: E731
    torch.testing.assert_close(embed(fine), embed(rounded), atol=1e-6, rtol=0)
    torch.testing.assert_close(embed(music[:SR] * 9), embed((music[:SR] * 9).clamp(-1, 1)), atol=0, rtol=0)


def test_prompts_are_cut_at_77_tokens(model):
    long = " ".join(["music"] * 200)
    tokens = model.loaded.tokenizer.encode([long])[0]
    assert len(tokens) == 77
    assert tokens[-1] == model.loaded.tokenizer.encode(["music"])[0][-1]


def test_converted_once_it_gives_the_same_scores(model, file, music, tmp_path):
    target = tmp_path / "LAION-CLAP" / "music.safetensors"
    convert_original(file, target)
    converted = Clap(str(target), tokenizer=str(file.parent))
    inputs = [BenchmarkBatchInput(music, text=PROMPT)]
    np.testing.assert_allclose(converted.score_batch(inputs, 1, 120.0), model.score_batch(inputs, 1, 120.0), atol=1e-6)
    with safe_open(target, "pt") as opened:
        names = set(opened.keys())
        assert opened.metadata()["source"] == file.name
    assert not any("transform." in name or "stft" in name for name in names)
    assert target.stat().st_size < file.stat().st_size


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda t: t.pop("audio_projection.2.bias"), r"missing tensor audio_projection\.2\.bias"),
        (lambda t: t.pop("audio_branch.logmel_extractor.melW"), "missing tensor audio_branch.logmel_extractor.melW"),
        (lambda t: t.update(extra=torch.zeros(1), more=torch.zeros(1)), "unexpected tensors extra, more"),
        (
            lambda t: t.update({"audio_branch.layers.2.blocks.1.attn.qkv.weight": torch.zeros(96, 31)}),
            r"misshapen tensor audio_branch\.layers\.2\.blocks\.1\.attn\.qkv\.weight",
        ),
        (lambda t: t.pop("audio_branch.bn0.weight"), "does not have the tensors of LAION's CLAP"),
        (lambda t: t.update({"audio_branch.patch_embed.mel_conv2d.weight": torch.zeros(1)}), "is a fusion model"),
    ],
)
def test_tensors_are_named(tmp_path, change, says):
    tensors = laion_tensors()
    change(tensors)
    file = save_laion_clap(tmp_path, tensors)
    with pytest.raises(UserError, match=says):
        Clap(str(file))
    with pytest.raises(UserError, match=says):
        convert_original(file, tmp_path / "out.safetensors")
    assert not (tmp_path / "out.safetensors").exists()


def test_no_code_of_a_checkpoint_runs(tmp_path):
    class Evil:
        def __reduce__(self):
            return (exec, (f"open({str(tmp_path / 'ran')!r}, 'w')",))

    file = tmp_path / "evil.pt"
    torch.save({"state_dict": {"w": torch.arange(3.0), "evil": Evil()}}, file)
    assert read_checkpoint(file)["w"].tolist() == [0, 1, 2]
    assert not (tmp_path / "ran").exists()
    with zipfile.ZipFile(tmp_path / "bare.pt", "w") as archive:
        archive.writestr("x/data.pkl", pickle.dumps(Evil()))
    with pytest.raises(UserError, match=r"Cannot read .*bare\.pt"):
        read_checkpoint(tmp_path / "bare.pt")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("damage", ["cut", "flipped", "no archive"])
def test_a_damaged_checkpoint_is_named(file, tmp_path, damage):
    content = bytearray(file.read_bytes())
    if damage == "flipped":
        content[len(content) // 2] ^= 0xFF
    (tmp_path / "bad.pt").write_bytes({"cut": content[: len(content) // 2], "no archive": b"x"}.get(damage, content))
    with pytest.raises(UserError, match=r"Cannot read .*bad\.pt"):
        Clap(str(tmp_path / "bad.pt"), tokenizer=str(file.parent))


def test_what_is_not_there(tmp_path, file):
    with pytest.raises(NotFetchedError, match="There is no"):  # task=prepare can help
        Clap(str(tmp_path / "LAION-CLAP" / "music.safetensors"))
    with pytest.raises(UserError, match="There is no") as raised:
        Clap(str(tmp_path / "music.safetensors"))
    assert not isinstance(raised.value, NotFetchedError)
    (tmp_path / "alone.pt").write_bytes(file.read_bytes())
    with pytest.raises(UserError, match=r"no tokenizer\.json beside"):
        Clap(str(tmp_path / "alone.pt"))


def test_preprocessor_of_the_port_is_checked(tmp_path):
    save_small_clap(tmp_path)
    preprocessor = tmp_path / "preprocessor_config.json"
    preprocessor.write_text(preprocessor.read_text().replace('"hop_length": 480', '"hop_length": "480"'))
    with pytest.raises(UserError, match=r"preprocessor_config\.json: hop_length is '480'; expected a whole number"):
        Clap(str(tmp_path))
