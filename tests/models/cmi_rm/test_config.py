"""Configuration files, and that what is wrong in them is named."""

import json

import pytest
import torch
import yaml

from cmi_bench.errors import UserError
from cmi_bench.models.cmi_rm.config import NO_DOWNSAMPLING, DownsampleConfig, read_reward_config
from cmi_bench.models.cmi_rm.model import CmiRM
from cmi_bench.models.config_files import read_mapping
from cmi_bench.models.muq.config import read_mulan_config, read_muq_config


@pytest.fixture
def edited(bundle, tmp_path):
    """Return a copy of a configuration with a change made to its values."""

    def edit(name, change):
        file = bundle / name
        values = yaml.safe_load(file.read_text()) if file.suffix == ".yaml" else json.loads(file.read_text())
        change(values)
        copy = tmp_path / file.name
        copy.write_text(yaml.safe_dump(values) if file.suffix == ".yaml" else json.dumps(values))
        return copy

    return edit


def downsampling(edited, **section):
    found = read_reward_config(
        edited("sa_mean/config.yaml", lambda v: v["model"].update(downsample=section))
    ).downsampling
    return found.eval, found.ref, found.text


def test_read(bundle):
    reward = read_reward_config(bundle / "sa_conv" / "config.yaml")
    assert reward.mulan_name == "muq-mulan"
    assert (reward.prompt_transformer.depth, reward.joint_transformer.depth) == (1, 2)
    assert reward.downsampling.eval == DownsampleConfig(kind="conv*2", factor=9)
    assert reward.downsampling.ref == DownsampleConfig(kind="conv", factor=3)
    mulan = read_mulan_config(bundle / "muq-mulan" / "config.json")
    assert (mulan.audio_model.name, mulan.text_model.name, mulan.text_model.dim) == ("muq", "xlm-roberta", None)
    assert mulan.text_transformer.max_seq_len == 1024
    muq = read_muq_config(bundle / "muq" / "config.json")
    assert (muq.time_strides, muq.conformer.layer_norm_eps) == ((2, 2), 1e-5)


def test_downsampling_defaults(edited):
    none, mean = NO_DOWNSAMPLING, DownsampleConfig(kind="mean", factor=4)
    configs = {"p": {"kind": "Mean", "factor": 4}}
    assert downsampling(edited, eval="p", configs=configs) == (mean, mean, none)
    assert downsampling(edited, eval="p", ref="none", text="p", configs=configs) == (mean, none, mean)
    assert downsampling(edited, eval="p", ref=None, text=None, configs=configs) == (mean, mean, none)
    assert downsampling(edited, ref="p", configs=configs) == (none, mean, none)
    without = edited("sa_mean/config.yaml", lambda v: v["model"].pop("downsample"))
    found = read_reward_config(without).downsampling
    assert found.eval == found.ref == found.text == none


def test_entries_that_no_sequence_uses_may_hold_anything(edited):
    found = downsampling(edited, eval="p", configs={"p": {"kind": "mean"}, "q": {"kind": "newer", "size": 3}})
    assert found[0] == DownsampleConfig(kind="mean")


@pytest.mark.parametrize(
    ("section", "what"),
    [
        ({"eval": "q", "configs": {"p": {"kind": "mean"}}}, r"model.downsample.eval names 'q'.*Known: p"),
        ({"eval": "p", "configs": {"p": {"kind": "men"}}}, r"configs.p.kind is 'men'.*Did you mean mean"),
        ({"eval": "p", "configs": {"p": {"kind": "mean", "facto": 2}}}, r"configs.p.facto is not.*Did you mean factor"),
        ({"eval": "p", "configs": {"p": {"kind": "mean", "factor": 0}}}, r"configs.p.factor is 0; expected at least 1"),
        ({"eval": "p", "configs": {"p": {"kind": "conv", "kernel_size": 4}}}, r"kernel_size is 4; expected an odd"),
        ({"eval": "p"}, r"model.downsample.configs is missing"),
    ],
)
def test_wrong_downsampling(edited, section, what):
    with pytest.raises(UserError, match=f"(?s)config.yaml.*{what}"):
        downsampling(edited, **section)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (
            lambda m: m.update(joint_tf_dept=m.pop("joint_tf_depth")),
            "joint_tf_depth is missing.*mean joint_tf_dept",
        ),
        (lambda m: m.update(dim="wide"), r"model.dim is 'wide'; expected a whole number"),
        (lambda m: m.update(heads=True), r"model.heads is True; expected a whole number"),
        (lambda m: m.update(dim=0), r"model.dim is 0; expected at least 1"),
        (lambda m: m.update(attention_mode="XA"), r"model.attention_mode is 'XA'.*Known: CA, SA"),
        (lambda m: m.update(mode="text"), r"model.mode is 'text'.*text_only"),
        (lambda m: m.update(sr=16000), r"model.sr is 16000; MuQ takes 24000 Hz"),
        (lambda m: m.update(output_dim=1), r"model.output_dim is 1; expected 2"),
        (lambda m: m.update(downsample=[1]), r"model.downsample is \[1\]; expected a mapping"),
    ],
)
def test_wrong_reward_config(edited, change, what):
    with pytest.raises(UserError, match=f"(?s)config.yaml.*{what}"):
        read_reward_config(edited("sa_mean/config.yaml", lambda values: change(values["model"])))


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda m: m.update(label_rate=75), r"label_rate is 75; expected one of \[25, 50\]"),
        (lambda m: m["stat"].pop("melspec_2048_std"), "stat.melspec_2048_std is missing"),
        (lambda m: m["w2v2_config"].update(hidden_act="gelu"), r"w2v2_config.hidden_act is 'gelu'"),
        (
            lambda m: m["w2v2_config"].update(position_embeddings_type=None),
            "w2v2_config.position_embeddings_type is missing",
        ),
    ],
)
def test_wrong_muq_config(edited, change, what):
    with pytest.raises(UserError, match=f"config.json.*{what}"):
        read_muq_config(edited("muq/config.json", change))


def test_wrong_mulan_config(edited):
    with pytest.raises(UserError, match=r"config.json: mulan.sr is 16000; MuQ takes 24000 Hz"):
        read_mulan_config(edited("muq-mulan/config.json", lambda v: v["mulan"].update(sr=16000)))


@pytest.mark.parametrize(
    ("text", "what"), [("model: [", "not YAML"), ("- 1", "holds no mapping"), (None, "Cannot read")]
)
def test_unreadable(tmp_path, text, what):
    file = tmp_path / "config.yaml"
    if text is not None:
        file.write_text(text)
    with pytest.raises(UserError, match=f"{what}.*config.yaml|config.yaml.*{what}"):
        read_mapping(file)


def test_widths_must_fit(bundle_copy):
    copy = bundle_copy("sa_mean")
    file = copy / "muq-mulan" / "config.json"
    values = json.loads(file.read_text())
    values["text_transformer"]["dim"] = 48
    file.write_text(json.dumps(values))
    with pytest.raises(UserError, match=r"muq-mulan/config.json: text_transformer.dim is 48, .* model.dim is 32"):
        CmiRM(str(copy / "sa_mean"))


def test_fifty_frames_a_second(bundle_copy, inputs):
    copy = bundle_copy("sa_mean")
    file = copy / "muq" / "config.json"
    file.write_text(file.read_text().replace('"label_rate": 25', '"label_rate": 50'))
    model = CmiRM(str(copy / "sa_mean"))
    (frames,) = model.encode_audio([torch.zeros(24_000)])
    assert frames.shape == (50, 32)
    assert model.score_batch(inputs[:1], 1, 1.0).shape == (1, 2)
