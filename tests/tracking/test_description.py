"""What MLflow shows of a run."""

from types import SimpleNamespace

import pytest

from cmi_bench.config import Precision
from cmi_bench.tracking.description import describe_run, final_metrics, job_name, model_label
from cmi_bench.tracking.sweep_plan import SweepPlace

METADATA = {
    "model": {"name": "cmi_rm", "digest": "d1"},
    "git": {"commit": "abc", "dirty": False},
    "device": "cpu 1",
    "counts": {"failed": 2, "scored": 9},
}


def config(**changes):
    # What a description reads of a configuration.
    return SimpleNamespace(
        **{
            "data": SimpleNamespace(name="mini"),
            "subset": SimpleNamespace(name="pam"),
            "model": {"name": "cmi_rm", "checkpoint": "/runs/step_500"},
            "metrics": SimpleNamespace(protocol=SimpleNamespace(value="strict")),
            "precision": Precision["32"],
            "max_dur": 120.0,
            "batch_size": 8,
            "seed": 0,
            "limit": None,
        }
        | changes
    )


def test_a_run_is_told_by_few_flat_params_and_tags():
    description = describe_run(config(), METADATA)
    assert description.name == "cmi_rm on mini/pam"
    assert description.params["checkpoint"] == "step_500"
    assert (description.params["dataset"], description.params["max_dur"]) == ("mini/pam", "120.0")
    assert not {"step", "limit"} & set(description.params)
    assert description.tags["checkpoint_digest"] == "d1"
    assert description.tags["mlflow.source.git.commit"] == description.tags["git_commit"] == "abc"
    assert description.tags["git_dirty"] == "False"


def test_a_job_of_a_sweep_stands_under_its_parent():
    place = SweepPlace("step_500", 500, 3, "f" * 32)
    description = describe_run(config(subset=SimpleNamespace(name="all")), METADATA, place)
    assert description.name == "cmi_rm step_500"
    assert (description.params["step"], description.params["dataset"]) == ("500", "mini")
    assert (description.tags["mlflow.parentRunId"], description.tags["sweep_job"]) == ("f" * 32, "3")
    assert SweepPlace("a", None, 0, None).tags == {}


def test_a_finished_run_has_its_agreement_and_its_counts():
    metrics = final_metrics(METADATA, {"PAM/musicality/SRCC": 0.5})
    assert metrics == {"PAM/musicality/SRCC": 0.5, "n_failed": 2, "clips_scored": 9}


@pytest.mark.parametrize(("label", "name"), [("cmi_rm step_5", "cmi_rm step_5"), ("step_5", "cmi_rm step_5")])
def test_a_job_has_the_models_name_once(label, name):
    assert job_name("cmi_rm", label) == name


def test_a_model_of_the_users_own_is_named_after_its_class():
    assert model_label({"name": "custom", "class_path": "mine.adapter:Model"}) == "Model"
    assert model_label({"name": "signal"}) == "signal"
