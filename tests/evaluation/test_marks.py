import numpy as np
import pytest
from scored_rows import VALID, VALID_PAIR, arena, clips

from cmi_bench.config import MetricSettings, ProtocolName
from cmi_bench.evaluation.evaluate import evaluate
from cmi_bench.evaluation.marks import Mark, distance_from_people, marks
from cmi_bench.evaluation.pairing import predictions_of

PAIRS = [
    arena("A", 3.0, 1.0, **VALID_PAIR),
    arena("A", 1.0, 5.0, **VALID_PAIR),
    arena("B", 2.0, 2.0, **VALID_PAIR),
    arena("both", 2.0, 2.0, **VALID_PAIR),
    arena("both", 2.0, 1.0, **VALID_PAIR),
    arena("A", None, None, inference_valid_a=False, inference_valid_b=True),
    arena(None, 1.0, 2.0, **VALID_PAIR),
]


def samples_of(rows, protocol=ProtocolName.strict):
    (samples,) = evaluate(rows, MetricSettings(protocol=protocol, resamples=0)).samples
    return samples


def distances(rows):
    samples = samples_of(rows)
    return distance_from_people(samples, predictions_of(samples))


def test_pairs_are_right_as_accuracy_counts_them():
    found = marks(samples_of(PAIRS))
    assert found == ["right", "wrong", "half right", "right", "half right", "failed", "no label"]
    credit = {Mark.RIGHT: 1.0, Mark.HALF: 0.5}
    (record,) = evaluate(PAIRS, MetricSettings(resamples=0)).summary
    assert sum(credit.get(one, 0.0) for one in found) == pytest.approx(record.metrics["ACC"] * record.n)


def test_the_paper_protocol_reads_what_the_file_states():
    found = marks(samples_of(PAIRS, ProtocolName.paper))
    assert found[2] == Mark.RIGHT  # a tie is B
    assert found[3] == Mark.HALF


def test_clips_are_rated_and_a_model_that_judges_nothing_is_not_wrong():
    assert marks(samples_of(clips([1, 2], [0.1, 0.2], **VALID))) == ["rated", "rated"]
    failed = [*clips([1], [0.1], **VALID), *clips([2], [None], inference_valid_a=False)]
    assert marks(samples_of(failed)) == ["rated", "failed"]
    assert set(marks(samples_of(clips([1, 2], [None, None], **VALID)))) == {"not judged"}


def test_the_most_confident_mistake_is_farthest_from_people():
    found = distances(PAIRS)
    # Five answered pairs; margins 2, -4, 0, 0, 1.
    assert found[1] == 1.0
    assert found[0] == -0.8
    assert found[2] == found[3] == 0.0
    assert found[4] == 0.6
    assert np.isnan(found[5:]).all()


def test_a_clip_is_as_far_from_people_as_its_rank():
    assert distances(clips([1, 2, 3], [30.0, 10.0, 20.0], **VALID)).tolist() == [1.0, 0.5, 0.5]
