"""A benchmark of a few rows, for tests that need rows and audio but no music."""

import gc
import json
import os
import signal

# Tests send Ctrl-C to themselves and to processes that they start. A shell that starts pytest in the background has
# it ignored, here and in those.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# One thread for each of pytest's workers, here and in the processes that tests start: the networks are
# tiny, and threads that wait for each other make them several times slower. Before torch is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# What a developer's machine sets in conf/local/ is none of the tests' business.
os.environ["CMI_BENCH_LOCAL"] = "none"
# That tests score weights is nothing that a developer's ledger should count.
os.environ["CMI_BENCH_LEDGER"] = ""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from command_line import run_task_here
from filelock import FileLock
from installed import Installation, install
from registries import restored_registries

from cmi_bench.data.synthetic.build import ensure_mini
from cmi_bench.data.synthetic.labels import MiniSplit

SR = 16000


@pytest.fixture(autouse=True, scope="module")
def _registries() -> Iterator[None]:
    """Datasets of one's own that a module's tests declare are not known to the next module's."""
    with restored_registries():
        yield


def pytest_collection_finish() -> None:
    """Leave what was imported to itself: going through it for garbage, again and again, is a fifth of all time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that the workers of one test run share."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@pytest.fixture(scope="session")
def mini_root(shared: Path) -> Path:
    """Data root of the mini benchmark."""
    return ensure_mini(shared / "mini").parent


@pytest.fixture(scope="session")
def mini_train_root(shared: Path) -> Path:
    """Data root of the rows to train on; for slow tests."""
    return ensure_mini(shared / "mini_train", MiniSplit.TRAIN).parent


@pytest.fixture(scope="session")
def installation(shared: Path) -> Installation:
    """The package in an environment of its own, away from the checkout; for slow tests."""
    with FileLock(shared / "installation.lock"):
        return install(shared / "installation")


def write_tone(path: Path, hertz: float, seconds: float = 0.4) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    time = np.arange(int(SR * seconds)) / SR
    soundfile.write(path, 0.3 * np.sin(2 * np.pi * hertz * time), SR, subtype="PCM_16")


def rows() -> list[dict[str, object]]:
    pam = [
        {"source": "PAM (music)", "audio-path": f"pam/{i}.wav", "prompt": f"p{i}", "musicality": 1.0 + i,
         "text-music alignment": 5.0 - i}
        for i in range(3)
    ]  # fmt: skip
    music_eval = [
        {"source": "MusicEval", "audio-path": f"eval/{i}.wav", "musicality": 2.0 + i} for i in range(3)
    ]  # fmt: skip
    arena = [
        {"source": "Music Arena ['01-2025JULAUG']", "audio-path": f"MusicArena_data/audio_files/01-2025JULAUG/{i}a.wav",
         "audio2": f"MusicArena_data/audio_files/01-2025JULAUG/{i}b.wav", "prompt": "song", "preference": "AB"[i % 2]}
        for i in range(2)
    ]  # fmt: skip
    cmi_pref = [
        {"source": "cmi-arena-annotation", "audio-path": f"cmi/{i}a.wav", "audio2": f"cmi/{i}b.wav", "prompt": "song",
         "lyrics": "la" if i else "", "ref-audio-path": "cmi/ref.wav" if i else "",
         "preference-musicality": "model_a", "preference-alignment": "model_b",
         "confidence_preference-musicality": "4", "confidence_preference-alignment": "2.5"}
        for i in range(2)
    ]  # fmt: skip
    return [row | {"split": "test"} for row in [*cmi_pref, *pam, *music_eval, *arena]]


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """Data root with `all_test.jsonl` (10 rows, 14 clips) and its audio: each file a tone of its own."""
    root = tmp_path / "tiny"
    lines = rows()
    named = [str(row[key]) for row in lines for key in ("audio-path", "audio2", "ref-audio-path") if row.get(key)]
    for number, path in enumerate(dict.fromkeys(named)):
        write_tone(root / path, hertz=200 + 40 * number)
    (root / "all_test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in lines))
    return root


@pytest.fixture
def run_here() -> Callable[..., None]:
    """Run the task that these words of a command line name, in this process: `run(*words, folder=...)`."""
    return run_task_here
