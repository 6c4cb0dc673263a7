"""What a model's answer may be, and how long it may take."""

import contextlib
import math
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from cmi_bench.errors import RunError
from cmi_bench.models.base import BenchmarkBatchInput, BenchmarkModelABC, SomeFailedError
from cmi_bench.scoring.model_call import (
    ContractError,
    ModelCall,
    ModelTimeoutError,
    checked_scores,
    mark_partial_nan,
    read_answer,
    time_limit,
)
from cmi_bench.types import Aspect, Score


@pytest.mark.parametrize(
    ("answer", "shown"),
    [
        (np.zeros((2, 2)), r"shape \[2, 2\] for 3 clips; expected \[3, 2\]"),
        (np.zeros(3), r"shape \[3\] for 3 clips"),
        (np.zeros((3, 3)), r"shape \[3, 3\]"),
        (np.zeros((3, 5, 2)), r"shape \[3, 5, 2\] for 3 clips; expected \[3, 2\]"),
        (np.zeros((0, 3, 2)), r"shape \[0, 3, 2\] for 3 clips"),
        (np.zeros((1, 5, 3, 2)), r"shape \[1, 5, 3, 2\] for 3 clips"),
        (np.array([["a", "b"]] * 3), "returned dtype <U1"),
        (np.zeros((3, 2), dtype=bool), "returned dtype bool"),
    ],
)
def test_answers_of_a_wrong_form_show_both_forms(answer, shown):
    with pytest.raises(ContractError, match=shown):
        checked_scores(answer, 3, "Model")


@pytest.mark.parametrize("answer", [[[0, 1]] * 3, np.zeros((3, 2), dtype=np.float16)])
def test_anything_that_is_numbers_will_do(answer):
    scores = checked_scores(answer, 3, "Model")
    assert scores.dtype == np.float64
    assert scores.shape == (3, 2)


def test_an_ensembles_scores_are_the_means_of_its_members():
    members = np.array([[[0.0, 1.0], [0.2, np.nan]], [[1.0, 2.0], [0.2, 5.0]], [[2.0, 6.0], [0.2, 7.0]]])
    found = read_answer(["a", "b"], members.astype(np.float32), "Model")
    assert found["a"][:2] == (1.0, 3.0)
    assert found["a"].of_members(Aspect.MUSICALITY) == (1.0, 2.0, 6.0)
    assert found["a"].spread(Aspect.MUSICALITY) == pytest.approx(np.std([1, 2, 6], ddof=1))
    assert found["b"].spread(Aspect.ALIGNMENT) == 0.0
    assert math.isnan(found["b"].musicality)  # one member has no answer: there is none


def test_one_infinite_member_is_a_failure_and_two_of_both_signs_are():
    members = np.array([[[np.inf, 1.0], [np.inf, 1.0]], [[0.0, 1.0], [-np.inf, 1.0]]])
    found = mark_partial_nan(read_answer(["a", "b"], members, "Model") | {"c": Score(0.0, 0.0)})
    assert "infinite" in found["a"].error
    assert found["b"].error


def test_an_ensemble_of_one_is_a_model_like_any_other():
    assert read_answer(["a"], np.array([[[0.5, 1.0]]]), "Model") == {"a": Score(0.5, 1.0)}


class Partly(BenchmarkModelABC):
    """Says of its second clip that it failed."""

    sr = 8000

    def score_batch(self, inputs, batch_size, max_dur, **kwargs):
        raise SomeFailedError(np.array([[0.5, 1.0], [0.0, 0.0], [np.inf, 1.0]]), {1: "no answer"})


def test_what_failed_is_a_failure_and_the_others_have_their_scores():
    found = ModelCall(Partly(), 30.0).score({key: BenchmarkBatchInput(key) for key in "abc"})
    assert found["a"] == Score(0.5, 1.0)
    assert found["b"].error == "no answer"
    assert "infinite" in found["c"].error


def forever():
    while True:
        with contextlib.suppress(Exception):  # as a model that tries again whatever happens
            time.sleep(60)


def test_a_model_that_takes_too_long_is_stopped_and_its_clips_are_named():
    call, names = ModelCall(Partly(), 30.0, timeout=0.05), [f"{number}.wav" for number in range(10)]
    handler = signal.getsignal(signal.SIGALRM)
    with pytest.raises(ModelTimeoutError) as raised, call.within_time(names):
        forever()
    assert raised.value.what == (
        "Partly has not answered for 0.05 s (model_timeout), asked about 0.wav, 1.wav, 2.wav, 3.wav, 4.wav, 5.wav,"
        " 6.wav, 7.wav and 2 more."
    )
    assert signal.getsignal(signal.SIGALRM) is handler
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_what_is_in_time_is_left_alone():
    with ModelCall(Partly(), 30.0, timeout=60).within_time(["a"]), ModelCall(Partly(), 30.0).within_time(["a"]):
        pass
    with pytest.raises(ValueError, match="its own"), time_limit(60, RunError("late")):
        raise ValueError("its own")
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


@pytest.mark.slow
def test_what_cannot_be_interrupted_is_ended_with_its_process():
    code = """
import threading
from cmi_bench.errors import RunError
from cmi_bench.scoring import model_call
model_call.GRACE = 0.1
def stuck():
    with model_call.time_limit(0.1, RunError("The model hangs.", "Do this.")):
        threading.Event().wait()
thread = threading.Thread(target=stuck)  # where no alarm comes
thread.start()
thread.join()
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60, env=os.environ
    )
    assert (done.returncode, done.stderr) == (1, "The model hangs.\n  -> Do this.\n")
