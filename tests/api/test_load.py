"""Models by their names, from anywhere."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cmi_bench import load_model
from cmi_bench.errors import UserError

PROJECT = Path(__file__).parents[2]
BUNDLE = PROJECT / "tests" / "data" / "parity" / "cmi_rm"


def test_cmi_rm_gives_the_published_implementations_scores(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    expected = json.loads((BUNDLE / "expected.json").read_text())
    model = load_model("cmi_rm", checkpoint=BUNDLE / "sa_mean", device="cpu", max_dur=20)
    songs = [
        {"audio": BUNDLE / "audio" / item["audio"], "text": item["text"], "lyrics": item["lyrics"],
         "ref_audio": BUNDLE / "audio" / item["ref_audio"] if item["ref_audio"] else None}
        for item in expected["items"]
    ]  # fmt: skip
    scores = np.array(expected["scores"]["sa_mean"]["max_dur_20"])
    np.testing.assert_allclose([one[:2] for one in model.score_batch(songs)], scores, atol=1e-4)
    first = model.score(songs[0]["audio"], text=songs[0]["text"], lyrics=songs[0]["lyrics"])
    np.testing.assert_allclose(first[:2], scores[0], atol=1e-4)


def test_options_of_the_models_file():
    model = load_model("cmi_rm_head", checkpoint=BUNDLE / "sa_mean", device="cpu", dur_step=5.0)
    assert (model.model.mode, model.model.dur_step) == ("standard", 5.0)


def test_nothing_is_kept_on_disk():
    assert load_model("cmi_rm", checkpoint=BUNDLE / "sa_mean", device="cpu").model.digest_dir is None


def test_a_class_of_ones_own(tmp_path, monkeypatch):
    source = "class Mine:\n    sr = 8000\n    def score_batch(self, inputs, batch_size, max_dur, answer):\n"
    (tmp_path / "mine_for_test.py").write_text(source + "        return [[answer, 2.0] for _ in inputs]\n")
    monkeypatch.syspath_prepend(tmp_path)
    model = load_model("custom", class_path="mine_for_test:Mine", score_kwargs={"answer": 7.0}, device="cpu")
    assert model.score((np.zeros(100), 8000)).columns == (7.0, 2.0)


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("cmi_rn", {}, "Did you mean cmi_rm"),
        ("signal", {"checkpoint": "x"}, "has no option 'checkpoint'"),
        ("cmi_rm", {"checkpont": "x"}, "Did you mean checkpoint"),
        ("signal", {"device": "gpu"}, "There is no device 'gpu'"),
        ("signal", {"device": "cuda:99"}, "Asked for cuda:99"),
        ("signal", {"precision": "16"}, "precision=16"),
        ("signal", {"max_dur": -1}, "max_dur=-1.0 is not positive"),
        ("signal", {"max_dur": float("nan")}, "max_dur=nan is not a number"),
        ("signal", {"max_dur": "long"}, "max_dur=long"),
        ("oracle", {}, "answers from the labels"),
        ("custom", {}, "model.class_path is missing"),
    ],
)
def test_mistakes(name, options, says):
    with pytest.raises(UserError) as raised:
        load_model(name, **options)
    assert says in str(raised.value)


@pytest.mark.slow
def test_what_is_imported_when():
    code = """
import sys, cmi_bench
print(any(name in sys.modules for name in ("numpy", "torch", "hydra")))
from cmi_bench import MetricSettings, evaluate
print(any(name in sys.modules for name in ("torch", "hydra", "lightning")))
from cmi_bench.hydra_compose import compose_config
compose_config("signal")
print("torch" in sys.modules)
from cmi_bench import load_model
load_model("signal")
print(any(name in sys.modules for name in ("lightning", "mlflow", "transformers")))
print(sorted(set(cmi_bench.__all__) - set(dir(cmi_bench))))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.split() == ["False", "False", "False", "False", "[]"]
