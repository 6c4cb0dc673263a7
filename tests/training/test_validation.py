"""Rows that are set aside: the objective's own loss, and whether scores keep what the loss has them promise."""

import json

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from training_losses import objective_of

from cmi_bench.config import DataConfig, MetricSettings
from cmi_bench.training.examples import load_examples
from cmi_bench.training.losses import RaoKupper
from cmi_bench.training.validation import Validation
from cmi_bench.training_config import TrainConfig

PAIRS = 300


@pytest.fixture(scope="module")
def set_aside(tmp_path_factory):
    """Pairs of CMI-Pref by Rao and Kupper's people, with their scores, and three clips of MusicEval."""
    generator = torch.Generator().manual_seed(0)
    scores = 1.5 * torch.randn(2 * PAIRS + 3, 2, generator=generator)
    people = RaoKupper(threshold=1.0)
    with torch.no_grad():
        chances = people.log_probabilities(scores[: 2 * PAIRS : 2, 1], scores[1 : 2 * PAIRS : 2, 1]).exp()
    answers = torch.multinomial(chances, 1, generator=generator)[:, 0].tolist()
    rows = [
        {"source": "cmi-arena-annotation", "audio-path": f"cmi-pref/gen-audio/{row}a.mp3", "prompt": f"prompt {row}",
         "audio2": f"cmi-pref/gen-audio/{row}b.mp3", "preference-musicality": ["model_a", "model_b", "both"][answer]}
        for row, answer in enumerate(answers)
    ]  # fmt: skip
    rows += [
        {"source": "MusicEval", "audio-path": f"MusicEval_data/train_audio/{row}.wav", "musicality": 2.0 + row}
        for row in range(3)
    ]
    folder = tmp_path_factory.mktemp("rows")
    file = folder / "all_train.jsonl"
    file.write_text("".join(json.dumps(row | {"split": "train"}) + "\n" for row in rows))
    data = DataConfig(name="x", jsonl=None, root=str(folder), train_root=str(folder), train_jsonl=str(file))
    return load_examples(data).examples, scores, np.array(answers)


def measure(set_aside, objective):
    examples, scores, _ = set_aside
    return Validation(examples, objective, MetricSettings(), monitor=TrainConfig().monitor).measure(scores)


def test_the_loss_is_the_objectives_over_all_labels(set_aside):
    found = measure(set_aside, objective_of("cmi_rm_stage2"))
    _, scores, answers = set_aside
    decided = answers < 2
    lead = (scores[: 2 * PAIRS : 2, 1] - scores[1 : 2 * PAIRS : 2, 1])[decided]
    of_pairs = F.binary_cross_entropy_with_logits(lead, torch.from_numpy(answers[decided] == 0).float())
    of_ratings = (2 * torch.tanh(0.2 * scores[2 * PAIRS :, 1]) + 3 - torch.tensor([2.0, 3.0, 4.0])).square().mean()
    n = int(decided.sum())
    assert found.figures["validation/loss"] == pytest.approx(float((n * of_pairs + 3 * of_ratings) / (n + 3) / 2))
    assert found.figures["validation/loss musicality nll"] == pytest.approx(float(of_pairs))
    assert found.figures["validation/loss musicality ratings"] == pytest.approx(float(of_ratings))
    assert found.monitored == found.figures["validation/loss"]


def test_promises_are_told_by_dataset_and_task_at_the_scale_of_training(set_aside):
    """Of Rao and Kupper's people, whose decided pairs are surer than the difference of scores says."""
    difference = measure(set_aside, objective_of("bradley_terry")).figures
    own = measure(set_aside, objective_of("rao_kupper")).figures
    _, scores, answers = set_aside
    lead = (scores[: 2 * PAIRS : 2, 1] - scores[1 : 2 * PAIRS : 2, 1])[answers < 2].double()
    likelihood = F.binary_cross_entropy_with_logits(lead, torch.from_numpy(answers[answers < 2] == 0).double())
    name = "validation/CMI-Pref musicality"
    assert difference[f"{name} NLL"] == pytest.approx(float(likelihood), rel=1e-5)
    assert own[f"{name} NLL"] < difference[f"{name} NLL"]
    assert difference[f"{name} calibration slope"] > 1.2
    assert own[f"{name} calibration slope"] == pytest.approx(1.0, abs=0.2)
    assert own[f"{name} ECE"] < 1.5 * own[f"{name} ECE by chance"]


def test_what_is_not_learnt_from_promises_nothing(set_aside):
    figures = measure(set_aside, objective_of(pairs={"kind": None})).figures
    assert not [name for name in figures if name.endswith(("NLL", "nll", "ECE", "ECE by chance", "slope"))]
    assert "validation/CMI-Pref musicality ACC" in figures
