"""Models whose scores depend on their batch, or on chance, are found and named; others are left alone."""

import math
import time

import numpy as np
import pytest
import torch
from scoring_run import score

from cmi_bench.data.rows import load_rows
from cmi_bench.models.base import AudioView, BenchmarkModelABC, EmbeddingModel
from cmi_bench.scoring import batch_check
from cmi_bench.scoring.batching import BatchLimits
from cmi_bench.scoring.requests import clips_of


@pytest.fixture
def check(tiny, tmp_path):
    """Score the tiny rows with a model; return what came of the check."""
    clips = clips_of(load_rows(tiny / "all_test.jsonl").rows, tiny)

    def run(model, *, batch_size=8, cache=True, **options):
        scored = score(
            clips, model, tmp_path / "run", cache=tmp_path / "cache" if cache else None, with_batch_check=True,
            limits=BatchLimits(batch_size, 60.0), batch_size=batch_size, **options,
        )  # fmt: skip
        assert not (tmp_path / "run/batch_check").exists()
        return scored.batch_check

    return run


def crossings(waveform):
    """Share of zero crossings: each file of the tests has another."""
    return float((np.diff(np.signbit(waveform.numpy())) != 0).mean())


class Crossings(BenchmarkModelABC):
    """Judges each clip by itself; its subclasses do not."""

    sr = 8000
    audio_input = "waveform"

    def score_batch(self, inputs, batch_size, max_dur, **kwargs):
        values = self.judge([crossings(one.audio) for one in inputs])
        return np.array([[math.nan, value] for value in values])

    def judge(self, values):
        return values


class Relative(Crossings):
    """Divides by the sum of the batch, which is another one in any other company."""

    def judge(self, values):
        return [value / sum(values) for value in values]


class BatchNorm(Crossings):
    """Normalises with the batch's statistics, as a network in training mode does."""

    def judge(self, values):
        return list((np.array(values) - np.mean(values)) / (np.std(values) + 1e-3))


class WrongAlone(Crossings):
    """Loses its way only where a batch holds a single clip."""

    def judge(self, values):
        return [0.0] if len(values) == 1 else values


class Dropout(Crossings):
    """Gives other scores each time."""

    def judge(self, values):
        self.rng = getattr(self, "rng", np.random.default_rng(0))
        return list(self.rng.normal(size=len(values)))


@pytest.mark.parametrize("model", [Relative, BatchNorm, WrongAlone])
def test_scores_that_depend_on_the_batch(check, model, caplog):
    found = check(model())
    assert found.depends_on_batch
    assert not found.changes_by_itself
    assert found.clips == 4
    assert found.largest_change > 0.1
    assert "depend on the clips beside them" in found.note
    assert found.note in caplog.text


def test_scores_that_change_from_call_to_call(check):
    found = check(Dropout())
    assert (found.depends_on_batch, found.changes_by_itself) == (False, True)
    assert "is_deterministic = False" in found.note


def test_a_model_that_says_so_is_left_alone(check):
    model = Dropout()
    model.is_deterministic = False
    assert check(model) is None


@pytest.mark.parametrize("batch_size", [1, 3, 100])
def test_a_model_that_judges_each_clip_by_itself(check, batch_size):
    found = check(Crossings(), batch_size=batch_size)
    if batch_size == 1:
        assert found is None  # a batch of one is all that this run may make, and all that it made
    else:
        assert (found.depends_on_batch, found.changes_by_itself, found.note) == (False, False, "")
        assert found.largest_change < 1e-6


class Counting(Crossings):
    """Counts how many clips it is asked for at once."""

    def __init__(self):
        self.calls = []

    def judge(self, values):
        self.calls.append(len(values))
        time.sleep(0.001)
        return values


@pytest.mark.parametrize(("clips", "again"), [(5, [4, 1]), (4, [3, 1]), (3, [2, 1]), (2, [1]), (1, [1]), (0, [])])
def test_as_many_are_scored_again_as_there_is_time_for(check, monkeypatch, clips, again):
    monkeypatch.setattr("cmi_bench.scoring.score.clips_affordable", lambda per_clip, run: clips)
    model = Counting()
    found = check(model, batch_size=100)
    assert model.calls[1:] == again
    assert (found.clips if found else 0) == max(again, default=0)


def test_a_run_too_short_for_it_has_no_check(check, monkeypatch):
    monkeypatch.setattr(batch_check, "FREE_SECONDS", 0.0)
    monkeypatch.setattr(batch_check, "SHARE", 0.01)
    assert check(Counting()) is None


def test_rounding_is_no_dependence(check):
    class Rounding(Crossings):
        def judge(self, values):
            return [value + 1e-5 * len(values) for value in values]

    assert not check(Rounding()).note


def test_a_model_that_fails_in_other_company_costs_the_run_nothing(check, caplog):
    class FailsLater(Crossings):
        calls = 0

        def judge(self, values):
            self.calls += 1
            if self.calls > 2:
                raise RuntimeError("no memory left")
            return values

    assert check(FailsLater()) is None
    assert "could not be checked" in caplog.text
    assert "no memory left" in caplog.text


def test_a_later_run_of_the_same_scores_says_the_same(check):
    class Named(Relative):
        identity = "relative"

    found = check(Named())
    assert found.note
    assert check(Named()) == found  # nothing is scored any more

    class Fixed(Crossings):
        identity = "relative"

    assert not check(Fixed(), resume=False).note


class Encoder(EmbeddingModel):
    """Embeds crossings; encoder and head are told whether to look at the batch."""

    sr = 8000
    identity = audio_identity = text_identity = ""

    def __init__(self, *, encoder=False, head=False):
        self.identity, self.audio_identity, self.encoder, self.head = f"{encoder}{head}", f"{encoder}", encoder, head

    def score_batch(self, inputs, batch_size, max_dur, **kwargs):
        raise AssertionError("an embedding model is scored from embeddings")

    def audio_view(self, max_dur, *, is_reference):
        return AudioView(f"first {max_dur:g} s", max_dur)

    def embed_audio(self, waveforms, max_dur, *, is_reference):
        values = torch.tensor([crossings(waveform) for waveform in waveforms])
        return [[value.reshape(1, 1)] for value in (values / values.sum() if self.encoder else values)]

    def embed_texts(self, texts):
        return [torch.zeros(1, 1) for _ in texts]

    def score_embedded(self, clips):
        values = np.array([float(clip.windows[0][0, 0]) for clip in clips])
        return np.stack([values, values / values.sum() if self.head else values], axis=1)


@pytest.mark.parametrize("cache", [True, False])
def test_embedding_models_encode_again_in_other_company(check, cache):
    assert check(Encoder(encoder=True), cache=cache).depends_on_batch
    assert check(Encoder(head=True), cache=cache).depends_on_batch
    assert not check(Encoder(), cache=cache).note


def test_with_all_audio_in_the_cache_only_the_head_is_asked(check, monkeypatch):
    check(Encoder())
    monkeypatch.setattr(Encoder, "embed_audio", lambda *args, **kwargs: pytest.fail("encoded again"))
    assert check(Encoder(head=True)).depends_on_batch


class Ensemble(Crossings):
    """Its scores hold in any company; what its members differ by, only in `Steady`."""

    def score_batch(self, inputs, batch_size, max_dur, **kwargs):
        scores = super().score_batch(inputs, batch_size, max_dur)
        return np.stack([scores - self.apart(len(inputs)), scores + self.apart(len(inputs))])

    def apart(self, company):
        return float(company)


class Steady(Ensemble):
    def apart(self, company):
        return 0.1


@pytest.mark.parametrize(("model", "depends"), [(Ensemble, True), (Steady, False)])
def test_a_spread_that_depends_on_the_batch_is_found(check, model, depends):
    assert check(model()).depends_on_batch is depends
