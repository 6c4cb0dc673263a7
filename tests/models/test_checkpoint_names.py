"""What the name of a checkpoint tells."""

import pytest

from cmi_bench.models.checkpoint_names import checkpoint_label, checkpoint_name, step_of


def test_what_a_checkpoint_is_called():
    assert checkpoint_name("runs/a/step_5/model.safetensors") == "step_5"
    assert checkpoint_name("runs/a/step_5/", parts=2) == "a/step_5"
    assert checkpoint_name("epoch=1.ckpt") == "epoch=1"
    assert checkpoint_name("Some/Model@refs/pr/1") == "refs/pr/1"
    assert checkpoint_label("Some/Model@v1") == "Some/Model@v1"
    assert checkpoint_label("/runs/a/step_5") == "step_5"


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
