"""An ensemble of trained heads: its scores are the means of its members', and their zeros are in no spread."""

from pathlib import Path

import numpy as np
import pytest
import torch
from encoders import FrameEncoder

from cmi_bench.models.base import EmbeddedInput
from cmi_bench.models.cmi_rm import CmiRM
from cmi_bench.models.heads import Widths, build_head
from cmi_bench.training.checkpoints import CheckpointWriter, read_heads
from cmi_bench.training.ensemble import Member, member_folder, member_scores, write_ensemble
from cmi_bench.training.model_card import Licence, ModelCard

BUNDLE = Path(__file__).parents[1] / "data" / "parity" / "cmi_rm"
SPEC = {"name": "backbone", "_target_": "encoders.FrameEncoder"}
CARD = ModelCard(
    run="r", model="frames", checkpoint="", encoder_digest="", licence=Licence("other", ""), recipe="small",
    settings={"head": {"name": "mlp"}}, rows=[], guards="", files={}, commit="",
)  # fmt: skip
HEADS = {
    "linear": {"_target_": "cmi_bench.models.heads.LinearHead", "rank": 2},
    "mlp": {"_target_": "cmi_bench.models.heads.MlpHead", "rank": 2, "hidden": [4]},
    "attention_pool": {
        "_target_": "cmi_bench.models.heads.AttentionPoolHead", "dim": 4, "queries": 1, "rank": 2, "hidden": [4]
    },
    "cmi_joint": {"_target_": "cmi_bench.models.cmi_rm.head.JointHead", "init": "scratch"},
}  # fmt: skip


@pytest.fixture(scope="module")
def clips():
    generator = torch.Generator().manual_seed(0)

    def frames(length):
        return torch.randn(length, 32, generator=generator)

    return [EmbeddedInput([frames(3), frames(2)], frames(2), frames(1), None) for _ in range(6)]


def scores_of(head, clips):
    with torch.no_grad():
        return head(clips)


@pytest.fixture
def trained(clips, tmp_path):
    """Return the writer of a training, and the best checkpoints of three seeds with a zero of their own."""

    def make(kind):
        backbone = CmiRM(str(BUNDLE / "sa_mean")) if kind == "cmi_joint" else FrameEncoder()
        writer = CheckpointWriter(backbone=backbone, spec=SPEC, max_dur=5.0, card=CARD, run="r")
        members = []
        for seed in (4, 5, 6):
            head = build_head(HEADS[kind], Widths(32, 32, 32, 32), backbone=backbone, seed=seed).eval()
            with torch.no_grad():
                head.projection.bias += torch.tensor([10.0 * seed, -3.0 * seed])
            checkpoint = member_folder(tmp_path, seed) / "checkpoints" / f"step_{seed:06d}"
            writer.write(checkpoint, [head], [seed], step=seed, figures={})
            members.append(Member(seed, checkpoint, seed, scores_of(head, clips)))
        return writer, members

    return make


@pytest.mark.parametrize("kind", HEADS)
def test_its_score_is_the_mean_of_what_its_members_say(kind, trained, clips, tmp_path):
    writer, members = trained(kind)
    assert write_ensemble(tmp_path / "ensemble", writer, members, {"validation/PAM musicality SRCC": 0.5}) == 6
    heads = read_heads(str(tmp_path / "ensemble"))
    said = torch.stack([scores_of(head, clips) for head in heads])
    alone = torch.stack([member.scores for member in members])
    torch.testing.assert_close(said.mean(dim=0), alone.mean(dim=0), rtol=0, atol=1e-4)
    torch.testing.assert_close(said, member_scores(members), rtol=0, atol=1e-4)
    # What a member says of two clips, it says of them within the ensemble.
    torch.testing.assert_close(said - said[:, :1], alone - alone[:, :1], rtol=0, atol=1e-4)
    assert alone.mean(dim=1).std(dim=0).min() > 1
    assert said.mean(dim=1).std(dim=0).max() < 1e-4


def test_its_card_and_configuration_name_the_seeds(trained, tmp_path):
    writer, members = trained("linear")
    write_ensemble(tmp_path / "ensemble", writer, members, {"validation/PAM musicality SRCC": 0.5})
    assert "seeds:\n  - 4\n  - 5\n  - 6" in (tmp_path / "ensemble" / "config.yaml").read_text()
    card = (tmp_path / "ensemble" / "README.md").read_text()
    assert "an ensemble of 3 heads" in card
    assert "| PAM musicality SRCC | 0.5 |" in card


def test_members_stay_as_they_are(trained, clips, tmp_path):
    writer, members = trained("mlp")
    write_ensemble(tmp_path / "ensemble", writer, members, {})
    for member in members:
        (head,) = read_heads(str(member.checkpoint))
        np.testing.assert_array_equal(scores_of(head, clips), member.scores)
