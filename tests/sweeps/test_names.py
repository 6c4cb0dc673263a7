"""Steps, orders and labels that names tell."""

import pytest

from cmi_bench.errors import UserError
from cmi_bench.models.hub import checkpoint_label, checkpoint_name, parse_hub_name
from cmi_bench.sweeps.checkpoints import find_checkpoints, step_of
from cmi_bench.sweeps.jobs import plan_jobs, swept_keys


@pytest.mark.parametrize(
    ("name", "step"),
    [
        ("step_500", 500),
        ("step=500", 500),
        ("step500", 500),
        ("global_step1200", 1200),
        ("checkpoint-500", 500),
        ("epoch=3-step=1200", 1200),
        ("step=1200-epoch=3", 1200),
        ("epoch=3", 3),
        ("ckpt_50k", 50_000),
        ("iter-0000100", 100),
        ("v2_run_007", 7),
        ("300", 300),
        ("cmi_rm_v2", None),
        ("best", None),
        ("a1b2c3d4", None),
        ("sa_mean", None),
    ],
)
def test_step(name, step):
    assert step_of(name) == step


def test_checkpoints_are_files_of_weights_and_folders_that_hold_one(tmp_path):
    for name in ("step_10/model.safetensors", "step_9/model.safetensors", "step_11/notes.txt", "last.ckpt", "a.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert [path.name for path in find_checkpoints(tmp_path, "*")] == ["step_9", "step_10", "last.ckpt"]
    with pytest.raises(UserError, match=r"sweep.pattern=epoch_\*"):
        find_checkpoints(tmp_path, "epoch_*")


def test_what_a_checkpoint_is_called(tmp_path):
    assert checkpoint_name("runs/a/step_5/model.safetensors") == "step_5"
    assert checkpoint_name("runs/a/step_5/", parts=2) == "a/step_5"
    assert checkpoint_name("epoch=1.ckpt") == "epoch=1"
    assert checkpoint_name("Some/Model@refs/pr/1") == "refs/pr/1"
    assert checkpoint_label("Some/Model@v1") == "Some/Model@v1"
    assert checkpoint_label("/runs/a/step_5") == "step_5"


@pytest.mark.parametrize("name", ["/runs/a", "./a/b", "a/b/c", "a/b@", "a b/c", "a/b@x y"])
def test_what_is_no_name_on_the_hub(name):
    assert parse_hub_name(name) is None


def labels(*overrides):
    return [job.label for job in plan_jobs(overrides, swept_keys(overrides, ["max_dur"]))]


def test_jobs_are_named_by_what_they_differ_in():
    assert labels(["model=signal", "max_dur=5", "a.b=1"], ["model=random", "max_dur=5", "a.b=1"]) == [
        "signal",
        "random",
    ]
    assert labels(["model=signal", "a.max_dur=5"], ["model=random", "a.max_dur=10"]) == [
        "signal max_dur=5",
        "random max_dur=10",
    ]
    assert labels(["max_dur=5", "seed=1"]) == ["max_dur=5"]
    assert labels(["model.checkpoint='x/a b,c/step_5'"], ["model.checkpoint=y/step_6"]) == ["step_5", "step_6"]
    assert labels(["model.checkpoint=x/step_5"], ["model.checkpoint=y/step_5"]) == ["x/step_5", "y/step_5"]
    assert len(set(labels(["seed=1"], ["seed=1"]))) == 2
