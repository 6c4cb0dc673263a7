"""Groups that set keys of the whole configuration, `experiment` and `local`, and a user's own in `--config-dir`."""

import json

import pytest
from command_line import PROJECT, composed, configured, run_command
from omegaconf import OmegaConf

from cmi_bench.config import ProtocolName
from cmi_bench.sweeps.checkpoints import register_sweep_resolvers


def test_smoke_is_a_few_synthetic_rows_on_the_cpu():
    config = configured("+experiment=smoke")
    assert (config.model["name"], config.data.name, config.device, config.limit) == ("signal", "mini", "cpu", 4)


def test_smoke_takes_a_model_and_a_device_of_the_users():
    config = configured("+experiment=smoke", "model=random", "device=cuda:1", "limit=2")
    assert (config.model["name"], config.data.name, config.device, config.limit) == ("random", "mini", "cuda:1", 2)


def test_paper_table_counts_as_the_paper_does_on_all_sets():
    config = configured("+experiment=paper_table", "model=muq_mulan", "subset=all")
    assert config.metrics.protocol is ProtocolName.paper
    assert config.metrics.by_duration and config.metrics.include_k_tau
    assert (config.data.name, config.limit, config.subset.name) == ("benchmark", None, "all")


def test_checkpoint_sweep_goes_over_a_folder(tmp_path):
    for step in (10, 2):
        (tmp_path / f"step_{step}.pt").touch()
    register_sweep_resolvers()
    cfg = composed("+experiment=checkpoint_sweep", f"sweep.checkpoint_dir={tmp_path}", hydra=True)
    over = str(cfg.hydra.sweeper.params["model.checkpoint"])
    assert over.index("step_2") < over.index("step_10")
    assert (cfg.hydra.mode.name, cfg.limit, cfg.metrics.name) == ("MULTIRUN", 100, "summary")


@pytest.fixture
def folder(tmp_path):
    """A user's own folder of groups: a model, data, an experiment and this machine's settings."""
    files = {
        "model/mine.yaml": "name: mine\n_target_: cmi_bench.models.baselines.Random\nseed: 3\n",
        "data/mine.yaml": "name: mine\njsonl: ${data_root}/mine.jsonl\nroot: ${data_root}\n",
        "experiment/mine.yaml": (
            "# @package _global_\ndefaults:\n  - override /model: mine\n  - override /data: mine\nlimit: 9\n"
        ),
        "local/default.yaml": "# @package _global_\ndata_root: /big\ntracking_uri: http://lab:5000\nlimit: 7\n",
        "local/cluster.yaml": "# @package _global_\ndata_root: /scratch\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def shown(folder, *words):
    done = run_command("--config-dir", str(folder), "--cfg", "job", "--resolve", *words)
    assert done.returncode == 0, done.stderr
    return OmegaConf.create(done.stdout)


def test_own_groups_stand_beside_the_shipped_ones(folder):
    cfg = shown(folder, "+experiment=mine")
    assert (cfg.model.name, cfg.data.jsonl, cfg.limit) == ("mine", f"{PROJECT}/data/mine.jsonl", 9)


def test_a_machines_settings_come_before_experiments_and_words(folder, monkeypatch):
    monkeypatch.delenv("CMI_BENCH_LOCAL")
    cfg = shown(folder, "data=mini")
    assert (cfg.data.root, cfg.tracking.uri, cfg.limit) == ("/big/mini", "http://lab:5000", 7)
    cfg = shown(folder, "+experiment=mine", "tracking=none", "data_root=/here")
    assert (cfg.data.root, cfg.tracking.uri, cfg.limit) == ("/here", None, 9)


def test_another_machines_settings_are_chosen_by_name(folder, monkeypatch):
    assert shown(folder, "local=cluster").data.root == "/scratch"
    monkeypatch.setenv("CMI_BENCH_LOCAL", "cluster")
    assert shown(folder).data.root == "/scratch"
    assert shown(folder, "local=none").data.root == f"{PROJECT}/data"


@pytest.mark.parametrize(
    ("text", "words", "says", "hint"),
    [
        ("# @package _global_\nseed: 1\n", "-m local=defalt", "There is no local=defalt.", "Did you mean default"),
        ("# @package _global_\nseed: 1\n", "local=defalt", "There is no local=defalt.", "Did you mean default"),
        ("seed: 1\n", "local=default", "under 'local', where nothing reads it", "# @package _global_"),
        ("# @package _global_\nsede: 1\n", "local=default", "'sede'", "--help"),
    ],
)
def test_mistakes_in_a_machines_settings_are_told(tmp_path, text, words, says, hint):
    (tmp_path / "local").mkdir()
    (tmp_path / "local/default.yaml").write_text(text)
    folders = [f"hydra.run.dir={tmp_path}/run", f"hydra.sweep.dir={tmp_path}/sweep"]
    done = run_command("--config-dir", str(tmp_path), *words.split(), "task=list", *folders)
    assert done.returncode == 1
    assert says in done.stderr and hint in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("words", [["+experiment=smoke"], ["+experiment=paper_table", "data=mini", "model=random"]])
def test_experiments_run(words, mini_root, tmp_path):
    done = run_command(
        *words, f"data_root={mini_root.parent}", f"tracking_uri=sqlite:///{tmp_path}/mlflow.db",
        f"tracking.artifacts={tmp_path}/artifacts", f"cache.dir={tmp_path}/cache", "device=cpu",
        f"hydra.run.dir={tmp_path}/run",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    metrics = json.loads((tmp_path / "run/metrics.json").read_text())
    assert len(metrics["summary"]) == 6
    assert (tmp_path / "mlflow.db").is_file()


CHECKPOINTED = '''
import numpy as np


class Mine:
    """Noise that a checkpoint seeds."""

    sr = 16000

    def __init__(self, checkpoint):
        self.seed = int(open(checkpoint).read())

    def score_batch(self, inputs, batch_size, max_dur, **kwargs):
        return np.random.default_rng(self.seed).normal(size=(len(inputs), 2))
'''


@pytest.mark.slow
def test_the_checkpoint_sweep_runs(mini_root, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "mine.py").write_text(CHECKPOINTED)
    (tmp_path / "ckpts").mkdir()
    for step in (1, 2):
        (tmp_path / f"ckpts/step_{step}.pt").write_text(str(step))
    done = run_command(
        "+experiment=checkpoint_sweep", f"sweep.checkpoint_dir={tmp_path}/ckpts", "model=custom", "limit=3",
        "model.class_path=mine:Mine", "data=mini", f"data_root={mini_root.parent}", "tracking=none",
        "device=cpu", "cache=off", "workers=0", f"hydra.sweep.dir={tmp_path}/sweep",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    table = (tmp_path / "sweep/sweep.csv").read_text()
    assert "step_1" in table and "step_2" in table
