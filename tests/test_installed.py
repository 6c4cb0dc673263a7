"""The installed package, away from its checkout: a wheel in an environment of its own, and people at its keyboard."""

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import soundfile

pytestmark = pytest.mark.slow

SR = 16000
TONE = 0.3 * np.sin(2 * np.pi * 440 * np.arange(SR) / SR)
QUICK = ["data=mini", "subset=pam", "limit=4", "+device=cpu", "workers=0"]


@pytest.fixture
def here(tmp_path, mini_root):
    """An empty folder but for the mini benchmark, which a first run would synthesise."""
    folder = tmp_path / "here"
    (folder / "data").mkdir(parents=True)
    (folder / "data" / "mini").symlink_to(mini_root)
    return folder


@pytest.fixture
def typed(installation, here):
    """Type a command in that folder, which is to succeed."""

    def run(*words, **variables):
        done = installation.run(*words, cwd=here, **variables)
        assert done.returncode == 0, done.stderr
        return done

    return run


def test_it_is_used_from_where_it_was_installed(installation, typed):
    code = "from cmi_bench.utils import installation as i; print(i.PACKAGE, i.conf_folder())"
    package, conf = map(Path, typed("python", "-c", code).stdout.split())
    assert package.is_relative_to(installation.environment)
    assert conf.parent == package
    assert re.fullmatch(r"cmi-bench \d+\.\d+\.\d+\n", typed("cmi-bench", "--version").stdout)
    assert "leaderboard" in typed("python", "-m", "cmi_bench", "--help").stdout


def test_songs_are_scored(typed, here):
    soundfile.write(here / "song.wav", TONE, SR)
    by_command = json.loads(typed("cmi-bench", "score", "song.wav", "--model", "signal", "--json").stdout)
    code = "import cmi_bench; print(cmi_bench.load_model('signal', device='cpu').score('song.wav').musicality)"
    assert float(typed("python", "-c", code).stdout) == pytest.approx(by_command["musicality"], abs=1e-6)
    assert (here.parent / "home" / ".cache" / "cmi-bench").is_dir()
    assert {path.name for path in here.iterdir()} == {"data", "song.wav"}


def test_a_run_a_sweep_and_what_reads_them(typed, here):
    # As below a notebook, whose kernel names a backend that is not installed here.
    typed("cmi-bench", "run", "model=signal", *QUICK, MPLBACKEND="module://matplotlib_inline.backend_inline")
    (report,) = here.glob("outputs/signal/*/report.html")
    assert "SRCC" in report.read_text()
    assert (here / "mlflow.db").is_file()
    typed("cmi-bench", "run", "-m", "model=signal", "max_dur=5,10", "tracking=none", "metrics.report=false", *QUICK)
    (sweep,) = (here / "multirun_sweeps").iterdir()
    jobs = sorted(str(path.parent.relative_to(here)) for path in sweep.glob("*/results.jsonl"))
    assert len(jobs) == 2
    compared = typed("cmi-bench", "compare", f"runs=[{','.join(jobs)}]", "tracking=none").stdout
    assert "PAM" in compared
    board = typed("cmi-bench", "leaderboard", f"runs=[{jobs[0]}]", "tracking=none").stdout
    assert "signal" in board
    listed = typed("cmi-bench", "list").stdout
    assert listed.count(f"{sweep.name}/") == 2
    again = typed("python", "-m", "cmi_bench", "evaluate", f"results={jobs[0]}/results.jsonl", "tracking=none").stdout
    assert "SRCC" in again


@pytest.mark.parametrize("command", [["cmi-bench"], ["python", "-m", "cmi_bench"]])
def test_processes_of_one_run_are_started_by_the_same_command(typed, here, command):
    words = ["model=random", "tracking=none", "metrics.report=false", "hydra.run.dir=run", "batch_size=1", *QUICK]
    typed(*command, "run", *[word.replace("=cpu", "=cpu_ddp") for word in words])
    assert len(list((here / "run/scores").glob("*.pack"))) == 2
    assert len((here / "run/results.jsonl").read_text().splitlines()) == 4


def test_jobs_of_a_sweep_side_by_side(typed, here):
    words = ["model=random", "tracking=none", "metrics.report=false", "seed=1,2", "+launch=joblib"]
    typed("cmi-bench", "run", "-m", *words, *QUICK)
    assert len(list(here.glob("multirun_sweeps/*/*/results.jsonl"))) == 2


PLUGIN = """
class Loud:
    sr = 8000

    def __init__(self, checkpoint=None):
        pass

    def score_batch(self, inputs, batch_size, max_dur, **kwargs):
        return [[77.0, 77.0] for _ in inputs]
"""


def test_a_packages_models_are_known_and_take_no_shipped_name(typed, here):
    """Of a package that was installed by `pip install --target`, found by PYTHONPATH."""
    metadata = here.parent / "plugins" / "loud_pkg-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: loud-pkg\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[cmi_bench.models]\nloud = loud_pkg:Loud\nsignal = loud_pkg:Loud\n")
    (metadata.parent / "loud_pkg.py").write_text(PLUGIN)
    soundfile.write(here / "song.wav", TONE, SR)
    plugins = {"PYTHONPATH": str(metadata.parent)}
    said = "The model signal of the package loud-pkg is left out: the name is taken.\n"

    def musicality(model):
        done = typed("cmi-bench", "score", "song.wav", "--json", "--no-cache", "--model", model, **plugins)
        assert done.stderr.count(said) == 1
        return json.loads(done.stdout)["musicality"]

    assert musicality("loud") == 77.0
    assert musicality("signal") != 77.0
    words = ["model=signal", "tracking=none", "metrics.report=false", "hydra.run.dir=run"]
    assert typed("cmi-bench", "run", *words, *QUICK, **plugins).stderr.count(said) == 1
    assert all(json.loads(line)["predicted_musicality"] != 77.0 for line in (here / "run/results.jsonl").open())
    code = "from cmi_bench import load_model; [load_model('signal', device='cpu') for _ in range(2)]"
    assert typed("python", "-c", code, **plugins).stderr.count(said) == 1


def test_a_model_of_ones_own_in_the_current_folder(typed, here):
    next_steps = typed("cmi-bench", "new-model", "name=mine").stdout
    assert (here / "mine.py").is_file()
    assert "cmi-bench conformance --config-dir conf model=mine\n" in next_steps
    typed("cmi-bench", "run", "--config-dir", "conf", "model=mine", "tracking=none", "metrics.report=false", *QUICK)
    assert list(here.glob("outputs/mine/*/results.jsonl"))


def write_songs(folder):
    """Write six songs and what two raters said of them, as a table beside them."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = ["song,rating,rater,genre"]
    for at in range(6):
        soundfile.write(folder / f"{at}.wav", TONE * (at + 1) / 6, SR)
        lines += [f"{at}.wav,{at},anna,pop", f"{at}.wav,{at + 1},ben,pop"]
    (folder / "ratings.csv").write_text("\n".join(lines) + "\n")


QUIET = ["tracking=none", "metrics.report=false", "+device=cpu", "workers=0"]


def test_own_songs_are_a_dataset(typed, here):
    write_songs(here / "songs")
    words = ["--name", "my_songs", "--group-by", "genre", "--out", "conf"]
    shown = typed("cmi-bench", "import", "songs/ratings.csv", *words).stdout
    command = shlex.split(shown.splitlines()[-1])
    assert command == ["cmi-bench", "run", "--config-dir", "conf", "model=signal", "data=my_songs"]
    said = typed(*command, *QUIET, "hydra.run.dir=run").stdout
    assert "human ceiling" in said
    again = typed("cmi-bench", "evaluate", "results=run", "tracking=none", "metrics.report=false").stdout
    assert "my_songs" in again


def test_a_package_declares_a_dataset(typed, here):
    package = here.parent / "plugins" / "song_pkg"
    metadata = package.with_name("song_pkg-1.0.dist-info")
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: song-pkg\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[cmi_bench.datasets]\nsongs = song_pkg\n")
    write_songs(package / "audio")
    (package / "__init__.py").touch()
    (package / "data").mkdir()
    declaration = "defaults: [mini, _self_]\nown:\n  pkg_songs: {csv: '${package:song_pkg}/audio/ratings.csv'}\n"
    (package / "data" / "songs.yaml").write_text(declaration)
    words = ["model=random", "data=songs", "subset=pkg_songs", *QUIET, "hydra.run.dir=run"]
    assert "pkg_songs" in typed("cmi-bench", "run", *words, PYTHONPATH=str(package.parent)).stdout
