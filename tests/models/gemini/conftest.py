"""The judge as its configuration makes it, before a service on loopback."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from fake_gemini import Gemini, serve
from omegaconf import OmegaConf

from cmi_bench.models.base import BenchmarkBatchInput
from cmi_bench.models.gemini.model import GeminiJudge
from cmi_bench.models.registry import build_model

PROJECT = Path(__file__).parents[3]
KEY = "AIza-a-key-that-nobody-may-see-0123456789"
SR = 24000


@pytest.fixture(autouse=True)
def key(monkeypatch):
    monkeypatch.delenv("GOOGLE_API_KEY", raising=False)
    monkeypatch.setenv("GEMINI_API_KEY", KEY)
    return KEY


@pytest.fixture
def gemini():
    with serve(Gemini()) as running:
        yield running


@pytest.fixture
def judge(gemini) -> Callable[..., GeminiJudge]:
    """The configured model with these overrides, as on the command line but in a hurry."""

    def build(*words: str) -> GeminiJudge:
        quick = [f"base_url={gemini.address}", "calls.backoff=0.01", "calls.requests_per_minute=100000"]
        spec = OmegaConf.load(PROJECT / "conf/model/gemini.yaml")
        spec = OmegaConf.merge(spec, OmegaConf.from_dotlist([*quick, *words]))
        model = build_model(OmegaConf.to_container(spec, resolve=True), device="cpu", precision="32")
        assert isinstance(model, GeminiJudge)
        return model

    return build


@pytest.fixture
def clip(tmp_path):
    """An input whose file holds noise of its own."""

    def make(number=0, *, seconds=0.5, text="a song", lyrics="", reference=None, sr=SR, gain=0.1, name=None):
        path = tmp_path / f"{name or f'clip{number}'}.wav"
        samples = gain * np.random.default_rng(number).standard_normal(round(seconds * sr))
        soundfile.write(path, samples, sr, subtype="PCM_16")
        return BenchmarkBatchInput(str(path), text=text, lyrics=lyrics, ref_audio=reference, clip_id=f"{number}:a")

    return make
