"""Models behind a service: told what is coming, asked in batches of their own size, and never twice for one clip."""

import numpy as np
import pytest
import scoring_run

from cmi_bench.data.rows import load_rows
from cmi_bench.models.base import BenchmarkModelABC, SomeFailedError
from cmi_bench.scoring.batching import BatchLimits
from cmi_bench.scoring.requests import clips_of


class Service(BenchmarkModelABC):
    """Fails on one clip of a batch, and says which."""

    sr = 16000
    identity = "service"
    clips_at_once = 5

    def __init__(self):
        self.batches, self.prepared, self.finished = [], [], 0

    def prepare(self, work):
        self.prepared.append(work)

    def finish(self):
        self.finished += 1

    def score_batch(self, inputs, batch_size, max_dur, **kwargs):
        self.batches.append([one.clip_id for one in inputs])
        bad = {place: "no answer" for place, one in enumerate(inputs) if one.clip_id == "3:a"}
        scores = np.ones((len(inputs), 2))
        if bad:
            scores[list(bad)] = np.nan
            raise SomeFailedError(scores, bad)
        return scores


@pytest.fixture
def score(tiny, tmp_path):
    def run(model):
        clips = clips_of(load_rows(tiny / "all_test.jsonl").rows, tiny)
        limits = BatchLimits(2, 0.5)
        return scoring_run.score(
            clips, model, tmp_path / "run", cache=tmp_path / "cache", max_dur=10.0, limits=limits, stop=False
        ).scores

    return run


def test_a_failure_costs_the_other_clips_nothing(score):
    model = Service()
    scores = score(model)
    assert sorted(len(batch) for batch in model.batches) == [4, 5, 5]
    assert {key for key, one in scores.items() if one.error} == {"3:a"}
    assert scores["3:a"].error == "no answer"


def test_a_service_hears_what_is_coming_and_that_it_is_over(score, tmp_path):
    model = Service()
    score(model)
    (work,) = model.prepared
    assert len(work.clips) == 14
    assert {round(clip.seconds, 3) for clip in work.clips} == {0.4}
    assert sum(one.clip.ref_audio is not None for one in work.clips) == 2
    assert work.folder == tmp_path / "cache/scores/service"
    assert (work.max_dur, work.processes, work.resume) == (10.0, 1, True)
    score(model)
    assert [one.clip.audio.name for one in model.prepared[1].clips] == ["0.wav"]  # what failed
    assert model.finished == 2
