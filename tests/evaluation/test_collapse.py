"""Signs of collapse: each alone, at its border, and none in models that tell songs apart."""

import numpy as np
import pytest
import torch
from scipy.spatial.distance import pdist

from cmi_bench.evaluation import collapse as module
from cmi_bench.evaluation.collapse import ClipScores, Layer, check_collapse, initial_values, mean_pairwise_cosine
from cmi_bench.evaluation.reading import ResultRow

RNG = np.random.default_rng(0)


def test_scores_that_differ_are_no_sign():
    assert check_collapse({"musicality": RNG.normal(size=50)}).signs == ()
    assert check_collapse({"musicality": np.repeat([1.0, 2.0], 25)}).signs == ()  # an oracle's, half and half
    assert check_collapse({"alignment": np.full(50, np.nan)}).measured == ()  # not judged


@pytest.mark.parametrize(
    "scores",
    [
        np.full(50, 3.0),
        np.where(np.arange(50) < 26, 3.0, RNG.normal(size=50)),
        1e3 + 1e-5 * RNG.normal(size=50),
        np.array([np.nan, 2.0, 2.0, 2.0, np.nan]),
    ],
    ids=["constant", "more than half", "rounding", "beside failures"],
)
def test_scores_that_hardly_differ(scores):
    (sign,) = check_collapse({"musicality": scores}).signs
    assert sign.startswith("musicality of")


def test_two_clips_show_nothing():
    assert check_collapse({"musicality": np.ones(2)}, {"audio": np.ones((2, 4))}).measured == ()


def test_the_mean_cosine_is_that_of_all_pairs():
    vectors = RNG.normal(size=(20, 8)) + 1.0
    assert mean_pairwise_cosine(vectors) == pytest.approx(1 - pdist(vectors, "cosine").mean(), abs=1e-12)
    assert mean_pairwise_cosine(np.zeros((3, 4))) == 1.0


def test_embeddings_in_a_common_space_must_point_apart():
    near = RNG.normal(size=(20, 64)) + 4.0
    apart = RNG.normal(size=(20, 64)) + 0.5
    assert 0.9 < mean_pairwise_cosine(near) < 1 - 1e-6
    assert check_collapse({}, {"text": near}, is_common_space=True).signs[0].startswith("20 text embeddings")
    assert check_collapse({}, {"text": apart}, is_common_space=True).signs == ()
    assert check_collapse({}, {"text": near}).signs == ()  # ratings, frames: no cosine is taken of them
    assert check_collapse({}, {"text": np.ones((20, 64))}).signs != ()
    assert check_collapse({}, {"text": np.full((20, 64), np.nan)}, is_common_space=True).signs != ()


def numbers(layer):
    return Layer(layer.weight.detach().numpy(), None if layer.bias is None else layer.bias.detach().numpy())


@pytest.mark.parametrize(("inputs", "outputs"), [(64, 16), (1024, 512), (16, 16)])
def test_projections_with_initial_values(inputs, outputs):
    torch.manual_seed(0)
    linear = torch.nn.Linear(inputs, outputs)
    assert "initial bound" in initial_values(numbers(linear))
    with torch.no_grad():  # as one step of an optimizer would
        linear.weight += 0.3 * linear.weight.std() * torch.randn_like(linear.weight)
    assert initial_values(numbers(linear)) == ""
    linear.bias.data.zero_()
    assert "bias of zeros" in initial_values(numbers(linear))
    linear.weight.data.zero_()
    assert "weights equal" in initial_values(numbers(linear))


def rows(count, score):
    return [
        {"source": "x", "audio-path": f"{i}.wav", "audio2": f"{i}b.wav", "prompt": "p",
         "predicted_musicality": score(i), "predicted_musicality_b": score(i + 0.5)}
        for i in range(count)
    ]  # fmt: skip


def collapse_notes(raws):
    scores = ClipScores()
    for place, raw in enumerate(raws, start=1):
        scores.take(ResultRow(place, raw))
    return scores.notes()


def test_a_report_names_a_collapsed_model():
    assert collapse_notes(rows(10, float)) == []
    (note,) = collapse_notes(rows(10, lambda _: 0.25))
    assert note == (
        "The model cannot tell these songs apart: musicality of 20 clips has standard deviation 0,"
        " 100% have the same score."
    )


def test_a_clip_of_many_rows_counts_once():
    again = rows(1, lambda _: 1.0) * 30 + rows(10, float)[1:]
    assert collapse_notes(again) == []


def test_of_many_clips_some_are_looked_at_whatever_their_order(monkeypatch):
    monkeypatch.setattr(module, "MOST_CLIPS", 50)
    assert collapse_notes(rows(300, float)) == []
    many = rows(300, lambda i: float(i % 4 == 0))
    (note,) = collapse_notes(many)
    assert "musicality of 50 clips" in note
    assert note.endswith("have the same score, of a sample of the clips.")
    assert collapse_notes(many[::-1]) == [note]
