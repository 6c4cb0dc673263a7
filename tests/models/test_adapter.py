"""An adapter as the public CMI-RewardBench has them, unchanged: its imports, its paths, its way of being called."""

import json
import sys

import numpy as np
import pytest

from cmi_bench.conformance.run import check_model
from cmi_bench.conformance.subject import failures
from cmi_bench.models.adapter import adapt
from cmi_bench.models.registry import build_model

ADAPTER = """
from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, List

import numpy as np
import soundfile as sf
import torch

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from core.model_abc import BenchmarkBatchInput, BenchmarkModelABC


class LevelModel(BenchmarkModelABC):
    def __init__(self, checkpoint: str, device: str = "cuda:0", sr: int = 24000) -> None:
        self._weight = float(Path(checkpoint).read_text())
        self._device = torch.device(device)
        self._sr = sr

    @property
    def sr(self) -> int:
        return self._sr

    def _level(self, audio: Any, max_dur: float) -> float:
        if isinstance(audio, torch.Tensor):
            return float(audio[: int(max_dur * self.sr)].pow(2).mean())
        samples, rate = sf.read(audio, dtype="float32", always_2d=True)
        mono = torch.from_numpy(samples).mean(dim=1).to(self._device)
        return float(mono[: int(max_dur * rate)].pow(2).mean())

    def score_batch(
        self, inputs: List[BenchmarkBatchInput], batch_size: int, max_dur: float, **kwargs: Any
    ) -> np.ndarray:
        scores = []
        for item in [x.to_dict() for x in inputs]:
            words = len((item["text"] + " " + item["lyrics"]).split())
            near = 0.0 if item["ref_audio"] is None else self._level(item["ref_audio"], max_dur)
            scores.append([words + near + kwargs.get("bonus", 0.0), self._weight * self._level(item["audio"], max_dur)])
        return np.asarray(scores, dtype=np.float32)
"""


@pytest.fixture
def adapter(tmp_path, monkeypatch):
    (tmp_path / "custom_models").mkdir()
    (tmp_path / "custom_models" / "level_model.py").write_text(ADAPTER)
    (tmp_path / "weights.txt").write_text("2.5")
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)
    yield ["model=custom", "model.class_path=custom_models.level_model:LevelModel",
           f"model.checkpoint={tmp_path}/weights.txt", "+model.score_kwargs.bonus=0.5"]  # fmt: skip
    for name in set(sys.modules) - before:
        if name.split(".")[0] in ("core", "custom_models"):
            del sys.modules[name]


def test_it_runs_the_benchmark(adapter, run_here, tiny, tmp_path):
    run_here(
        *adapter, f"data.root={tiny}", f"data.jsonl={tiny}/all_test.jsonl", "tracking=none", "cache=off",
        "metrics.resamples=0", "metrics.report=false", "workers=0", "+device=cpu", folder=tmp_path / "run",
    )  # fmt: skip
    rows = [json.loads(line) for line in (tmp_path / "run" / "results.jsonl").read_text().splitlines()]
    assert len(rows) == 10
    assert all(
        row["predicted_musicality"] == pytest.approx(2.5 * 0.045, rel=0.01) for row in rows
    )  # tones of one level
    assert rows[1]["predicted_text-music alignment"] == pytest.approx(2 + 0.045 + 0.5, rel=0.01)  # "song", "la", ref


def test_it_conforms(adapter, tmp_path):
    spec = {"class_path": "custom_models.level_model:LevelModel", "checkpoint": str(tmp_path / "weights.txt")}
    model = build_model(spec, device="cpu", precision="32")
    assert not failures(check_model(model, tmp_path))


def test_where_the_public_repository_is_at_hand_its_own_contract_is_used(adapter, tmp_path):
    (tmp_path / "core").mkdir()
    (tmp_path / "core" / "model_abc.py").write_text("BenchmarkBatchInput = dict\nclass BenchmarkModelABC: ...\n")
    spec = {"class_path": "custom_models.level_model:LevelModel", "checkpoint": str(tmp_path / "weights.txt")}
    model = build_model(spec, device="cpu", precision="32")
    assert type(model.implementation).__mro__[1].__module__ == "core.model_abc"
    assert sys.modules["core.model_abc"].__file__ == str(tmp_path / "core" / "model_abc.py")


class Embeds:
    """A model that embeds and inherits from nothing."""

    sr, identity, audio_identity, text_identity = 16000, "a", "b", "c"
    audio_view = embed_audio = embed_texts = score_embedded = score_batch = lambda *_: None


class Pools(Embeds):
    """The same, which shortens frames."""

    def pooling(self, kind):
        return "every other" if kind == "audio" else ""

    def pool(self, embedding, kind):
        return embedding[::2] if kind == "audio" else embedding


def test_a_wrapped_model_pools_where_it_can():
    frames = np.arange(4)
    assert adapt(Pools()).pooling("audio") == "every other" and list(adapt(Pools()).pool(frames, "audio")) == [0, 2]
    assert adapt(Embeds()).pooling("audio") == "" and adapt(Embeds()).pool(frames, "audio") is frames
