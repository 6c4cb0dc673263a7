"""Checkpoints of a training: both layouts give the scores of the heads in memory, and are there whole or not at all."""

import logging
import resource
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from encoders import pooled
from safetensors import safe_open
from safetensors.torch import load_file

from cmi_bench.errors import RunError, UserError
from cmi_bench.models.base import BenchmarkBatchInput, EmbeddedInput
from cmi_bench.models.cmi_rm import CmiRM
from cmi_bench.models.cmi_rm.head import JointHead
from cmi_bench.models.heads import Head, Widths, build_head
from cmi_bench.models.registry import build_model
from cmi_bench.models.trained import TrainedModel
from cmi_bench.scoring.code_identity import code_identity
from cmi_bench.scoring.embedding_items import EmbeddingAddresses
from cmi_bench.sweeps.checkpoints import find_checkpoints
from cmi_bench.training.checkpoints import CheckpointWriter, read_heads
from cmi_bench.training.model_card import Licence, ModelCard, UsedRows
from cmi_bench.types import Aspect

BUNDLE = Path(__file__).parents[1] / "data" / "parity" / "cmi_rm"
CMI_RM = {"name": "cmi_rm", "_target_": "cmi_bench.models.cmi_rm.CmiRM", "checkpoint": str(BUNDLE / "sa_mean")}
MULAN = {
    "name": "muq_mulan",
    "_target_": "cmi_bench.models.muq_mulan.MuQMuLan",
    "checkpoint": str(BUNDLE / "muq-mulan"),
}
JOINT = {"_target_": "cmi_bench.models.cmi_rm.head.JointHead"}
MLP = {"_target_": "cmi_bench.models.heads.MlpHead", "rank": 4, "hidden": [8]}
CARD = ModelCard(
    run="2026-01-01_00-00-00",
    model="cmi_rm",
    checkpoint="HaiwenXia/CMI-RM",
    encoder_digest="0" * 64,
    licence=Licence("cc-by-nc-4.0", "its weights are CC BY-NC 4.0"),
    recipe="small",
    settings={"head": {"name": "mlp"}, "seed": 3},
    rows=[UsedRows("cmi_pref", Aspect.MUSICALITY, "pairs", 90, 10)],
    files={"all_train.jsonl": "ab" * 32},
    commit="",
    guards="Compared with the test rows of PAM 500.",
)
FIGURES = {"validation/loss": 0.5, "validation/CMI-Pref musicality ACC": 0.75}
FIGURES |= {
    f"validation intervals/CMI-Pref musicality ACC {end}": value for end, value in (("low", 0.7), ("high", 0.8))
}


@pytest.fixture(scope="module")
def cmi_rm() -> CmiRM:
    return CmiRM(CMI_RM["checkpoint"])


@pytest.fixture(scope="module")
def mulan():
    return build_model(MULAN, device="cpu", precision="32")


@pytest.fixture(scope="module")
def inputs() -> list[BenchmarkBatchInput]:
    audio = {name: str(BUNDLE / "audio" / name) for name in ("a_24k_4s.flac", "d_16k_2s.flac", "ref_48k_3s.flac")}
    return [
        BenchmarkBatchInput(audio["a_24k_4s.flac"], "calm piano", "", audio["ref_48k_3s.flac"], clip_id="0:a"),
        BenchmarkBatchInput(audio["d_16k_2s.flac"], "", "la la la", None, clip_id="0:b"),
    ]


def embedded(model, inputs, max_dur: float = 20.0) -> list[EmbeddedInput]:
    """Embed by the model's steps, as the benchmark does."""
    from cmi_bench.audio.decode import decode

    def windows(path: str, *, is_reference: bool) -> list[torch.Tensor]:
        seconds = model.audio_view(max_dur, is_reference=is_reference).seconds
        return model.embed_audio([decode(path, model.sr, seconds)], max_dur, is_reference=is_reference)[0]

    return [
        EmbeddedInput(
            windows(one.audio, is_reference=False),
            *model.embed_texts([one.text, one.lyrics]),
            None if one.ref_audio is None else windows(one.ref_audio, is_reference=True)[0],
        )
        for one in inputs
    ]


def trained_joint_head(backbone: CmiRM, seed: int = 0) -> JointHead:
    """A head whose tensors are all others than its checkpoint's."""
    widths = Widths(32, 32, 32, 32)
    head = build_head({**JOINT, "init": "scratch"}, widths, backbone=backbone, seed=seed)
    assert isinstance(head, JointHead)
    return head.eval()


def trained_mlp(seed: int = 0, width: int = 32, **widths: int) -> Head:
    wide = Widths(width, **{"text": width, "lyrics": width, "ref_audio": width} | widths)
    head = build_head(MLP, wide, backbone=None, seed=seed)
    for null in head.null.values():
        torch.nn.init.normal_(null.data, generator=torch.Generator().manual_seed(seed))
    return head.eval()


def make_writer(backbone, spec, **options) -> CheckpointWriter:
    return CheckpointWriter(backbone=backbone, spec=spec, max_dur=20.0, card=CARD, run=CARD.run, **options)


def scores_of_head(head: Head, backbone, clips) -> np.ndarray:
    with torch.no_grad():
        return head(pooled(backbone, clips)).numpy()


def test_a_head_of_cmi_rm_scores_the_same_through_the_public_layout(cmi_rm, inputs, tmp_path):
    head, clips = trained_joint_head(cmi_rm), embedded(cmi_rm, inputs)
    dropout = {"text": 0.2, "lyrics": 0.3, "ref_audio": 0.5}
    folder = tmp_path / "checkpoints" / "step_000250"
    make_writer(cmi_rm, CMI_RM, dropout=dropout).write(folder, [head], [0], step=250, figures=FIGURES)

    loaded = CmiRM(str(folder))

    assert sorted(path.name for path in folder.iterdir()) == ["README.md", "config.yaml", "model.safetensors"]
    wanted = scores_of_head(head, cmi_rm, clips)
    np.testing.assert_allclose(loaded.score_embedded(clips), wanted, atol=1e-6)
    np.testing.assert_allclose(loaded.score_batch(inputs, 2, 20.0), wanted, atol=1e-6)
    assert np.abs(wanted - cmi_rm.score_embedded(clips)).max() > 1e-3
    assert (loaded.audio_identity, loaded.text_identity) == (cmi_rm.audio_identity, cmi_rm.text_identity)
    assert loaded.identity != cmi_rm.identity
    section = yaml.safe_load((folder / "config.yaml").read_text())["model"]
    assert section["null_embedding"]["audio"] == {"dropout": 0.5, "length": 10}
    with safe_open(folder / "model.safetensors", "pt") as file:
        assert not any(name.startswith(("audio_module.", "text_module.")) for name in file.keys())  # noqa: SIM118
        assert torch.equal(file.get_tensor("null_text_embedding"), head.null_embeddings()["null_text_embedding"])


def test_training_goes_on_from_a_checkpoint_with_its_null_embeddings(cmi_rm, tmp_path):
    head = trained_joint_head(cmi_rm)
    make_writer(cmi_rm, CMI_RM).write(tmp_path / "step_1", [head], [0], step=1, figures={})
    stage_1 = CmiRM(str(tmp_path / "step_1"))
    again = build_head(JOINT, head.widths, backbone=stage_1, seed=7)
    assert all(torch.equal(one, head.state_dict()[name]) for name, one in again.state_dict().items())
    # The encoders of its own checkpoints are where those of the first one are.
    make_writer(stage_1, CMI_RM | {"checkpoint": str(tmp_path / "step_1")}).write(
        tmp_path / "step_2", [again], [0], step=2, figures={}
    )
    shutil.rmtree(tmp_path / "step_1")
    assert CmiRM(str(tmp_path / "step_2")).encoder_digest == cmi_rm.encoder_digest


def test_a_release_holds_the_encoders_too(cmi_rm, inputs, tmp_path):
    head = trained_joint_head(cmi_rm)
    make_writer(cmi_rm, CMI_RM, with_encoders=True).write(tmp_path / "step_1", [head], [0], step=1, figures={})
    released = load_file(BUNDLE / "sa_mean" / "model.safetensors")
    written = load_file(tmp_path / "step_1" / "model.safetensors")
    encoders = {name for name in written if name.startswith(("audio_module.", "text_module."))}
    assert len(encoders) > 50 and all(torch.equal(written[name], released[name]) for name in encoders)
    clips = embedded(cmi_rm, inputs[:1])
    np.testing.assert_allclose(
        CmiRM(str(tmp_path / "step_1")).score_embedded(clips), scores_of_head(head, cmi_rm, clips), atol=1e-6
    )


def test_encoders_of_muq_mulan_stay_there(tmp_path, cmi_rm):
    """A checkpoint without encoders of its own names no other one."""
    for name in ("muq-mulan", "muq", "xlm-roberta"):
        shutil.copytree(BUNDLE / name, tmp_path / name)
    head = trained_joint_head(cmi_rm)
    make_writer(cmi_rm, CMI_RM).write(tmp_path / "first", [head], [0], step=1, figures={})
    config = yaml.safe_load((tmp_path / "first" / "config.yaml").read_text())
    for key in ("encoders", "encoder_digest"):
        del config["model"][key]
    (tmp_path / "first" / "config.yaml").write_text(yaml.safe_dump(config))

    bare = CmiRM(str(tmp_path / "first"))
    assert bare.encoder_digest != cmi_rm.encoder_digest
    make_writer(bare, CMI_RM | {"checkpoint": str(tmp_path / "first")}).write(
        tmp_path / "second", [head], [0], step=1, figures={}
    )
    assert "encoders" not in yaml.safe_load((tmp_path / "second" / "config.yaml").read_text())["model"]
    assert CmiRM(str(tmp_path / "second")).encoder_digest == bare.encoder_digest


def test_other_encoders_than_those_trained_on_are_refused(cmi_rm, mulan, tmp_path):
    make_writer(cmi_rm, CMI_RM).write(tmp_path / "joint", [trained_joint_head(cmi_rm)], [0], step=1, figures={})
    config = yaml.safe_load((tmp_path / "joint" / "config.yaml").read_text())
    config["model"]["encoders"] = str(BUNDLE / "sa_conv")
    (tmp_path / "joint" / "config.yaml").write_text(yaml.safe_dump(config))
    other = load_file(BUNDLE / "sa_conv" / "model.safetensors")
    same = load_file(BUNDLE / "sa_mean" / "model.safetensors")
    assert any(name in same and not torch.equal(same[name], one) for name, one in other.items() if "module" in name)
    with pytest.raises(UserError, match="not those that the head was trained on"):
        _ = CmiRM(str(tmp_path / "joint")).identity

    make_writer(cmi_rm, CMI_RM).write(tmp_path / "mlp", [trained_mlp()], [0], step=1, figures={})
    with pytest.raises(UserError, match="The encoders of cmi_rm are not those that the heads"):
        TrainedModel(str(tmp_path / "mlp"), backbone=str(BUNDLE / "sa_conv"))


@pytest.mark.parametrize("spec", [CMI_RM, MULAN], ids=["cmi_rm", "muq_mulan"])
def test_a_trained_model_scores_as_its_head_and_embeds_as_its_backbone(spec, inputs, tmp_path, request):
    backbone = request.getfixturevalue("cmi_rm" if spec is CMI_RM else "mulan")
    clips = embedded(backbone, inputs)
    widths = Widths.of(clips, backbone.unused_inputs)
    head = build_head(MLP, widths, backbone=backbone, seed=0)
    head.fit_statistics(clips)
    make_writer(backbone, spec).write(tmp_path / "step_1", [head.eval()], [0], step=1, figures={})

    model = build_model(
        {
            "name": "trained",
            "_target_": "cmi_bench.models.trained.TrainedModel",
            "checkpoint": str(tmp_path / "step_1"),
        },
        device="cpu",
        precision="32",
        digest_dir=tmp_path / "digests",
    )

    wanted = scores_of_head(head, backbone, clips)
    np.testing.assert_allclose(model.score_embedded(clips), wanted, atol=1e-6)
    np.testing.assert_allclose(model.score_batch(inputs, 2, 20.0), wanted, atol=1e-5)
    assert EmbeddingAddresses.of(model, 20.0) == EmbeddingAddresses.of(backbone, 20.0)
    assert code_identity(model) != code_identity(backbone)
    assert model.sr == backbone.sr and model.encoder_digest == backbone.encoder_digest
    assert model.backbone.digest_dir == tmp_path / "digests"


def test_an_ensemble_says_what_each_member_does(cmi_rm, inputs, tmp_path):
    heads, clips = [trained_mlp(0), trained_mlp(1), trained_joint_head(cmi_rm)], embedded(cmi_rm, inputs)
    make_writer(cmi_rm, CMI_RM).write(tmp_path / "step_1", heads, [0, 1, 2], step=1, figures={})
    model = TrainedModel(str(tmp_path / "step_1"))
    members = model.score_embedded(clips)
    assert members.shape == (3, 2, 2)
    for member, head in zip(members, heads, strict=True):
        np.testing.assert_allclose(member, scores_of_head(head, cmi_rm, clips), atol=1e-6)
    assert set(model.projections) == {"heads.0", "heads.1", "heads.2"}
    assert model.config.training.seeds == [0, 1, 2]


def test_heads_are_read_again_from_either_layout(cmi_rm, tmp_path):
    writer, joint, mlp = make_writer(cmi_rm, CMI_RM), trained_joint_head(cmi_rm), trained_mlp()
    writer.write(tmp_path / "joint", [joint], [0], step=1, figures={})
    writer.write(tmp_path / "mlp", [mlp], [0], step=1, figures={})
    for name, head in (("joint", joint), ("mlp", mlp)):
        (again,) = read_heads(str(tmp_path / name))
        assert type(again) is type(head)
        assert all(torch.equal(one, again.state_dict()[key]) for key, one in head.state_dict().items())


def test_same_weights_have_one_identity_whatever_training_they_are_from(cmi_rm, tmp_path):
    for name, head, step in (("a", trained_mlp(), 1), ("b", trained_mlp(), 2), ("c", trained_mlp(1), 1)):
        make_writer(cmi_rm, CMI_RM).write(tmp_path / name, [head], [0], step=step, figures={})
    first, second, third = (TrainedModel(str(tmp_path / name)) for name in "abc")
    assert first.identity == second.identity != third.identity
    assert first.weights_digest == second.weights_digest != third.weights_digest


def test_an_aspect_without_labels_is_not_judged(cmi_rm, inputs, tmp_path):
    writer = make_writer(cmi_rm, CMI_RM, aspects=[Aspect.MUSICALITY])
    clips = embedded(cmi_rm, inputs)
    for name, head in (("mlp", trained_mlp()), ("joint", trained_joint_head(cmi_rm))):
        writer.write(tmp_path / name, [head], [0], step=1, figures={})
        scores = TrainedModel(str(tmp_path / name)).score_embedded(clips)
        assert np.isnan(scores[:, 0]).all() and np.isfinite(scores[:, 1]).all()


def test_what_no_head_reads_is_unused(mulan, cmi_rm, tmp_path):
    writer = make_writer(cmi_rm, CMI_RM)
    writer.write(tmp_path / "one", [trained_mlp(lyrics=0, ref_audio=0)], [0], step=1, figures={})
    writer.write(tmp_path / "two", [trained_mlp(lyrics=0), trained_mlp(lyrics=0)], [0, 1], step=1, figures={})
    assert TrainedModel(str(tmp_path / "one")).unused_inputs == {"lyrics", "ref_audio"}
    assert TrainedModel(str(tmp_path / "two")).unused_inputs == {"lyrics"}


def test_other_seconds_than_in_training_are_told_once(cmi_rm, tmp_path, caplog):
    make_writer(cmi_rm, CMI_RM).write(tmp_path / "step_1", [trained_mlp()], [0], step=1, figures={})
    model = TrainedModel(str(tmp_path / "step_1"))
    with caplog.at_level(logging.WARNING):
        model.audio_view(20.0, is_reference=False)
        assert not caplog.records
        model.audio_view(30.0, is_reference=False)
        model.audio_view(30.0, is_reference=True)
    assert [record.message for record in caplog.records] == [
        "The heads were trained on the first 20 s of clips, and score the first 30 s (max_dur)."
    ]


def test_a_backbone_that_moved_is_named_or_found_beside(mulan, tmp_path):
    for name in ("muq-mulan", "muq", "xlm-roberta"):
        shutil.copytree(BUNDLE / name, tmp_path / "models" / name)
    there = str(tmp_path / "models" / "muq-mulan")
    head = trained_mlp(width=mulan.embed_texts(["x"])[0].shape[1], lyrics=0, ref_audio=0)
    make_writer(mulan, MULAN | {"checkpoint": there}).write(tmp_path / "step_1", [head], [0], step=1, figures={})
    assert TrainedModel(str(tmp_path / "step_1")).sr == 24000
    (tmp_path / "models").rename(tmp_path / "moved")
    with pytest.raises(UserError, match="not on this machine") as error:
        TrainedModel(str(tmp_path / "step_1"))
    assert "model.backbone=" in error.value.hint
    assert TrainedModel(str(tmp_path / "step_1"), backbone=str(tmp_path / "moved" / "muq-mulan")).sr == 24000
    shutil.copytree(tmp_path / "step_1", tmp_path / "moved" / "step_1")
    assert TrainedModel(str(tmp_path / "moved" / "step_1")).sr == 24000


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"backbone": {"_target_": "subprocess.run", "args": ["true"]}}, "no model that embeds"),
        ({"backbone": CMI_RM | {"_recursive_": True}}, "may not hold _recursive_"),
        ({"heads": [{"_target_": "subprocess.run"}]}, "is no head"),
        ({"heads": []}, "heads"),
        ({"max_dur": -1}, "max_dur is -1; expected more than 0"),
        ({"extra": 1}, "extra is not a known key"),
        ({"widths": {"audio": 32, "text": 5, "lyrics": 32, "ref_audio": 32}}, "shape"),
    ],
)
def test_a_configuration_that_is_wrong_is_told_and_nothing_it_names_is_called(cmi_rm, tmp_path, change, said):
    make_writer(cmi_rm, CMI_RM).write(tmp_path / "step_1", [trained_mlp()], [0], step=1, figures={})
    config = yaml.safe_load((tmp_path / "step_1" / "config.yaml").read_text())
    (tmp_path / "step_1" / "config.yaml").write_text(yaml.safe_dump(config | change))
    with pytest.raises(UserError, match=said):
        TrainedModel(str(tmp_path / "step_1"))


def test_a_checkpoint_says_which_model_loads_it(cmi_rm, tmp_path):
    make_writer(cmi_rm, CMI_RM).write(tmp_path / "mlp", [trained_mlp()], [0], step=1, figures={})
    make_writer(cmi_rm, CMI_RM).write(tmp_path / "joint", [trained_joint_head(cmi_rm)], [0], step=1, figures={})
    with pytest.raises(UserError, match="is a checkpoint of heads over a frozen model") as error:
        CmiRM(str(tmp_path / "mlp"))
    assert "model=trained" in error.value.hint
    with pytest.raises(UserError, match="is a checkpoint of CMI-RM") as error:
        TrainedModel(str(tmp_path / "joint"))
    assert "model=cmi_rm" in error.value.hint


@pytest.fixture
def full_disk():
    """No file may grow beyond 2 kB, as on a full disk."""
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    signal.signal(signal.SIGXFSZ, handler)


def test_a_full_disk_leaves_the_last_good_checkpoint(cmi_rm, tmp_path, request):
    folder = tmp_path / "checkpoints" / "step_000001"
    writer = make_writer(cmi_rm, CMI_RM)
    writer.write(folder, [trained_mlp(0)], [0], step=1, figures={})
    before = (folder / "model.safetensors").read_bytes()
    request.getfixturevalue("full_disk")
    for name in ("step_000001", "step_000002"):
        with pytest.raises(RunError, match="checkpoints"):
            writer.write(folder.with_name(name), [trained_mlp(1)], [1], step=2, figures={})
    assert [path.name for path in folder.parent.iterdir()] == ["step_000001"]
    assert (folder / "model.safetensors").read_bytes() == before


def test_a_checkpoint_is_replaced_and_what_a_killed_process_left_is_no_checkpoint(cmi_rm, tmp_path):
    writer, folder = make_writer(cmi_rm, CMI_RM), tmp_path / "step_000001"
    left = tmp_path / ".step_000001.0123.tmp"
    left.mkdir()
    (left / "model.safetensors").write_bytes(b"half")
    writer.write(tmp_path / "step_000002", [trained_mlp(0)], [0], step=2, figures={})
    assert find_checkpoints(tmp_path, "*") == [tmp_path / "step_000002"]
    for seed in (0, 1):
        writer.write(folder, [trained_mlp(seed)], [seed], step=1, figures={})
    assert find_checkpoints(tmp_path, "*") == [folder, tmp_path / "step_000002"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step_000001", "step_000002"]
    assert TrainedModel(str(folder)).config.training.seeds == [1]


def test_the_card_says_what_the_weights_are_and_come_from(cmi_rm, tmp_path):
    make_writer(cmi_rm, CMI_RM).write(tmp_path / "step_1", [trained_mlp()], [3], step=250, figures=FIGURES)
    card = (tmp_path / "step_1" / "README.md").read_text()
    front = yaml.safe_load(card.split("---\n")[1])
    assert front["license"] == "cc-by-nc-4.0" and front["base_model"] == "HaiwenXia/CMI-RM"
    for said in (
        "step 250",
        "It judges the musicality of a clip: a head `mlp`",
        "| seeds | 3 |",
        "| cmi_pref | musicality | pairs | 90 | 10 |",
        f"| SHA-256 of all_train.jsonl | {'ab' * 32} |",
        "| CMI-Pref musicality ACC | 0.75 | 0.7 to 0.8 |",
        "| loss | 0.5 |  |",
        "CC BY-NC 4.0",
        "Compared with the test rows of PAM 500.",
    ):
        assert said in card
    other = replace(CARD, licence=Licence("other", "see their page"), checkpoint="")
    make_writer(cmi_rm, CMI_RM).write(tmp_path / "step_2", [trained_mlp()], [3], step=1, figures={})
    from cmi_bench.training.model_card import render_card

    front = yaml.safe_load(render_card(other, seeds=[0], step=1, figures={}).split("---\n")[1])
    assert front["license"] == "other" and "base_model" not in front
