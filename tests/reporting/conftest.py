import pytest

from cmi_bench.config import MetricSettings
from cmi_bench.evaluation.evaluate import evaluate

SINGLE = {"source": "PAM (music)", "split": "test", "audio-path": "a.wav", "inference_valid_a": True}
PAIR = {
    "source": "cmi-arena-annotation",
    "split": "test",
    "audio-path": "a.mp3",
    "audio2": "b.mp3",
    "preference-musicality": "model_a",
    "preference-alignment": "model_a",
    "confidence_preference-musicality": "4",
    "inference_valid_a": True,
    "inference_valid_b": True,
}


@pytest.fixture
def mixed():
    """Rows with something of everything: good, constant, not applicable, failed, tied, unlabelled, unknown."""
    singles = [
        SINGLE | {"musicality": label, "text-music alignment": label, "predicted_musicality": 0.5}
        | {"predicted_text-music alignment": label / 7}
        for label in (1.0, 2.0, 3.5)
    ]  # fmt: skip
    scored = PAIR | {"predicted_musicality": 1.0, "predicted_musicality_b": 0.0}
    pairs = [
        scored,
        scored | {"predicted_musicality": 0.0},
        scored | {"predicted_musicality": None, "inference_valid_a": False},
        scored | {"preference-musicality": ""},
    ]
    unjudged = {"predicted_text-music alignment": None, "predicted_text-music alignment_b": None}
    return [*singles, *(pair | unjudged for pair in pairs), {"source": "else", "split": "test"}]


@pytest.fixture
def evaluation(mixed):
    return evaluate(mixed, MetricSettings(by_duration=True))


@pytest.fixture
def nothing():
    return evaluate([])
