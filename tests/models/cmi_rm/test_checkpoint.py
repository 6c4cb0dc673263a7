"""CMI-RM's checkpoint: strict names, the base's tensors, digests of the parts."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from cmi_bench.errors import UserError
from cmi_bench.models import weights
from cmi_bench.models.cmi_rm import CmiRM
from cmi_bench.models.cmi_rm.checkpoint import load_cmi_rm, part_digests, tensors_digest
from cmi_bench.models.hub import find_checkpoint

ENCODERS = ("audio_module.", "text_module.")


@pytest.fixture
def changed(bundle_copy):
    """Return the folder of sa_mean with a change made to its tensors, and perhaps to the base's."""

    def change(edit, edit_base=None):
        copy = bundle_copy("sa_mean")
        for file, edit_tensors in (("sa_mean", edit), ("muq-mulan", edit_base)):
            if edit_tensors is not None:
                tensors = load_file(copy / file / "model.safetensors")
                edit_tensors(tensors)
                save_file(tensors, copy / file / "model.safetensors")
        return str(copy / "sa_mean")

    return change


def strip_encoders(tensors):
    for name in [name for name in tensors if name.startswith(ENCODERS)]:
        del tensors[name]


def test_encoders_from_the_base(changed, bundle, inputs, expected):
    encoders = {
        name.replace("audio_module.", "mulan.audio.").replace("text_module.", "mulan.text."): tensor
        for name, tensor in load_file(bundle / "sa_mean" / "model.safetensors").items()
        if name.startswith(ENCODERS)
    }
    model = CmiRM(changed(strip_encoders, lambda base: base.update(encoders)))
    scores = model.score_batch(inputs, 6, 20.0)
    np.testing.assert_allclose(scores, expected["scores"]["sa_mean"]["max_dur_20"], atol=1e-5)


def test_the_base_may_be_what_the_hub_has_of_it(changed, inputs):
    """MuQ-MuLan was released as `pytorch_model.bin` only."""
    folder = Path(changed(strip_encoders))
    before = CmiRM(str(folder)).score_batch(inputs[:2], 2, 20.0)
    base = folder.parent / "muq-mulan"
    torch.save(load_file(base / "model.safetensors"), base / "pytorch_model.bin")
    (base / "model.safetensors").unlink()

    model = CmiRM(str(folder))

    assert model.score_batch(inputs[:2], 2, 20.0).tolist() == before.tolist()
    assert len(model.digest) == 64


def test_the_base_fills_gaps_only(changed, bundle):
    name = "audio_module.model.model.conv.conv.0.conv2.weight"
    model = CmiRM(changed(lambda tensors: tensors.pop(name)))
    muq = model.loaded.network.audio_tower.muq
    base = load_file(bundle / "muq-mulan" / "model.safetensors")
    own = load_file(bundle / "sa_mean" / "model.safetensors")
    torch.testing.assert_close(muq.conv.conv[0].conv2.weight, base[f"mulan.audio.{name.partition('.')[2]}"])
    torch.testing.assert_close(muq.conv.conv[1].conv2.weight, own[name.replace("conv.0", "conv.1")])
    assert model.digest != CmiRM(str(bundle / "sa_mean")).digest


def test_the_base_is_left_alone_where_it_is_not_needed(bundle_copy, inputs, expected):
    copy = bundle_copy("sa_mean")
    (copy / "muq-mulan" / "model.safetensors").unlink()
    scores = CmiRM(str(copy / "sa_mean")).score_batch(inputs[:1], 1, 20.0)
    np.testing.assert_allclose(scores, expected["scores"]["sa_mean"]["max_dur_20"][:1], atol=1e-5)


@pytest.mark.parametrize(
    ("edit", "what"),
    [
        (lambda t: t.pop("score_projector.1.bias"), "missing tensor score_projector.1.bias"),
        (lambda t: t.update(extra=torch.zeros(1)), "unexpected tensor extra"),
        (lambda t: t.update({"audio_module.extra": torch.zeros(1)}), "unexpected tensor audio_module.extra"),
        (
            lambda t: t.update({"score_projector.1.bias": torch.zeros(3)}),
            r"tensor score_projector.1.bias has shape \[3\]; the configuration makes it \[48\]",
        ),
        (
            lambda t: [t.pop(name) for name in list(t) if name.startswith("joint_transformer.layers.1")],
            r"missing tensors joint_transformer.layers.1.0.k_scale, .* and 4 more",
        ),
        (lambda t: t.clear(), "missing tensors joint_transformer"),
    ],
)
def test_tensors_are_named(changed, edit, what):
    with pytest.raises(UserError, match=f"sa_mean/model.safetensors.*: {what}|sa_mean/model.safetensors: {what}"):
        CmiRM(changed(edit))


def test_missing_in_the_base_too(changed):
    with pytest.raises(UserError, match=r"sa_mean.* and .*muq-mulan.*: missing tensor audio_module.proj.weight"):
        CmiRM(changed(strip_encoders, lambda base: base.pop("mulan.audio.proj.weight")))


def test_unexpected_in_the_base(changed):
    with pytest.raises(UserError, match=r"muq-mulan/model.safetensors: unexpected tensor mulan.audio.extra"):
        CmiRM(changed(strip_encoders, lambda base: base.update({"mulan.audio.extra": torch.zeros(1)})))


def test_more_layers_than_the_checkpoint_has(bundle_copy):
    copy = bundle_copy("sa_mean")
    config = copy / "sa_mean" / "config.yaml"
    config.write_text(config.read_text().replace("prompt_tf_depth: 1", "prompt_tf_depth: 2"))
    with pytest.raises(UserError, match=r"missing tensors prompt_transformer.layers.1.0.k_scale"):
        CmiRM(str(copy / "sa_mean"))


def test_what_inference_has_no_use_for_may_be_absent(changed, inputs, expected):
    training_only = ("null_", "single_score", "alignment_head", "quality_head", "audio_module.aggregator")

    def drop(tensors):
        for name in [n for n in tensors if n.startswith(training_only) or n.endswith("num_batches_tracked")]:
            del tensors[name]

    scores = CmiRM(changed(drop)).score_batch(inputs[:1], 1, 20.0)
    np.testing.assert_allclose(scores, expected["scores"]["sa_mean"]["max_dur_20"][:1], atol=1e-5)


def test_half_precision_files_become_float32(changed, inputs, expected):
    def halve(tensors):
        for name, tensor in tensors.items():
            if tensor.is_floating_point() and not name.endswith("inv_freq"):
                tensors[name] = tensor.half()

    model = CmiRM(changed(halve))
    assert {value.dtype for value in model.loaded.network.state_dict().values()} == {torch.float32}
    scores = model.score_batch(inputs[:1], 1, 20.0)
    np.testing.assert_allclose(scores, expected["scores"]["sa_mean"]["max_dur_20"][:1], atol=5e-3)


def test_every_tensor_is_from_a_file(load, bundle):
    network = load("ca_glu").loaded.network
    assert not any(tensor.is_meta or tensor.requires_grad for tensor in [*network.parameters(), *network.buffers()])
    stored = load_file(bundle / "ca_glu" / "model.safetensors").values()
    sums = {round(float(tensor.double().sum()), 6) for tensor in stored}
    assert all(round(float(tensor.double().sum()), 6) in sums for tensor in network.state_dict().values())


@pytest.mark.parametrize("stored_names", ["all", "first"])
def test_stages_under_one_name_or_all(bundle_copy, inputs, stored_names):
    copy = bundle_copy("sa_conv")
    folder = copy / "sa_conv"
    config = yaml.safe_load((folder / "config.yaml").read_text())
    config["model"]["downsample"]["configs"]["c1"]["stage"] = 2
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    tensors = load_file(folder / "model.safetensors")
    if stored_names == "all":
        tensors |= {n.replace("blocks.0", "blocks.1"): t.clone() for n, t in tensors.items() if "blocks.0" in n}
    save_file(tensors, folder / "model.safetensors")
    block = "ref_downsampler.blocks.1.dw.weight"
    network = CmiRM(str(folder)).loaded.network
    torch.testing.assert_close(network.state_dict()[f"scorer.{block}"], tensors["ref_downsampler.blocks.0.dw.weight"])


def test_no_safetensors_inside(bundle_copy):
    copy = bundle_copy("sa_mean")
    (copy / "sa_mean" / "model.safetensors").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(UserError, match=r"Cannot read .*sa_mean/model.safetensors"):
        CmiRM(str(copy / "sa_mean"))


def test_broken_tokenizer(bundle_copy):
    copy = bundle_copy("sa_mean")
    (copy / "xlm-roberta" / "tokenizer.json").write_text(json.dumps({"version": "1.0"}))
    with pytest.raises(UserError, match=r"Cannot read .*xlm-roberta/tokenizer.json"):
        CmiRM(str(copy / "sa_mean"))


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


def test_a_digest_is_of_names_shapes_types_and_numbers():
    ones = {"w": torch.ones(2, 3)}
    others = [
        {"v": torch.ones(2, 3)},
        {"w": torch.ones(3, 2)},
        {"w": torch.ones(6)},
        {"w": torch.ones(2, 3).view(torch.int32)},  # the same bytes
        {"w": torch.ones(2, 3) + 1e-6},
        {"w": torch.ones(2, 3), "v": torch.ones(1)},
        {},
    ]
    digests = [tensors_digest(tensors) for tensors in (ones, *others)]
    assert len(set(digests)) == len(digests)
    assert tensors_digest({"w": torch.ones(3, 2).T}) == digests[0]  # however it lies in memory
    two = {"a": torch.zeros(1), "b": torch.ones(1)}
    assert tensors_digest(two) == tensors_digest(dict(reversed(two.items())))
