"""What identifies a run where it is recorded."""

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from cmi_bench.config import MetricSettings, Precision
from cmi_bench.tracking.description import describe_model, describe_run, model_label, run_name
from cmi_bench.tracking.sweep_plan import SweepPlace

METADATA = {
    "model": {"name": "cmi_rm", "digest": "d1", "class": "somewhere.CmiRM", "code": "c1"},
    "git": {"commit": "abc", "dirty": False},
    "device": "cpu 1",
}


def config(**changes):
    # What a description reads of a configuration.
    return SimpleNamespace(
        **{
            "data": SimpleNamespace(name="mini", note="synthetic rows"),
            "subset": SimpleNamespace(name="pam"),
            "model": {"name": "cmi_rm", "checkpoint": "/runs/step_500"},
            "metrics": MetricSettings(),
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
    assert (description.name, description.step) == ("cmi_rm step_500 on mini/pam", 500)
    assert description.params["checkpoint"] == "step_500"
    assert (description.params["dataset"], description.params["max_dur"]) == ("mini/pam", "120.0")
    assert (description.params["protocol"], description.params["cluster"]) == ("strict", "prompt")
    assert (description.params["step"], description.params["limit"]) == ("500", "all")
    assert description.tags["checkpoint_digest"] == "d1"
    assert description.tags["mlflow.source.git.commit"] == description.tags["git_commit"] == "abc"
    assert description.tags["git_dirty"] == "False"
    assert description.tags["mlflow.note.content"] == "synthetic rows"
    assert description.tags["mlflow.source.name"] == Path(sys.argv[0]).name


def test_a_part_of_the_benchmark_is_called_by_its_own_name():
    data, subset = SimpleNamespace(name="benchmark", note=""), SimpleNamespace(name="cmi_pref")
    changes = {"data": data, "subset": subset, "model": {"name": "cmi_rm"}, "limit": 3}
    description = describe_run(config(**changes), METADATA)
    assert (description.name, description.step) == ("cmi_rm on cmi_pref", None)
    assert description.params["limit"] == "3"
    assert not {"step", "checkpoint"} & set(description.params)


def test_a_user_without_a_name_is_no_obstacle(monkeypatch):
    monkeypatch.setattr("cmi_bench.tracking.description.getpass.getuser", lambda: {}["no such user"])
    assert "mlflow.user" not in describe_run(config(), METADATA).tags


def test_a_job_of_a_sweep_stands_under_its_parent():
    place = SweepPlace("step_500", 500, 3, "f" * 32)
    description = describe_run(config(subset=SimpleNamespace(name="all")), METADATA, place)
    assert description.name == "cmi_rm step_500 on mini"
    assert (description.params["step"], description.params["dataset"]) == ("500", "mini")
    assert (description.tags["mlflow.parentRunId"], description.tags["sweep_job"]) == ("f" * 32, "3")
    assert SweepPlace("a", None, 0, None).tags == {}


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (("cmi_rm", "step_5", "cmi_pref"), "cmi_rm step_5 on cmi_pref"),
        (("cmi_rm", "cmi_rm step_5", "mini"), "cmi_rm step_5 on mini"),
        (("signal", "", "mini"), "signal on mini"),
        (("", "subset=pam", None), "subset=pam"),
    ],
)
def test_a_run_is_called_by_its_model_once_what_tells_it_apart_and_its_rows(words, name):
    assert run_name(*words) == name


def test_a_model_of_the_users_own_is_named_after_its_class():
    assert model_label({"name": "custom", "class_path": "mine.adapter:Model"}) == "Model"
    assert model_label({"name": "signal"}) == "signal"


def model(digest="d1", code="c1", **spec):
    facts = {"name": "cmi_rm", "class": "somewhere.CmiRM", "digest": digest, "code": code}
    return describe_model(
        {"name": "cmi_rm", "mode": "final", "config": None, "checkpoint": "/a/step_500"} | spec, facts
    )


def test_the_same_weights_and_settings_are_one_model_wherever_they_lie_and_whatever_the_code():
    assert model(checkpoint="/b/step_500", name="mine", code="c2").key == model().key
    others = [model("d2"), model(mode="standard"), model(init_kwargs={"window": 5})]
    assert len({one.key for one in (*others, model())}) == 4


def test_a_model_without_a_digest_is_known_by_its_files_names_and_its_code():
    assert model(None).key == model(None).key
    others = [model(None, checkpoint="/b/step_500"), model(None, code="c2")]
    assert len({one.key for one in (*others, model(None))}) == 3


def test_what_the_models_page_says_of_a_checkpoint(tmp_path):
    (tmp_path / "step_500").mkdir()
    described = model(checkpoint=str(tmp_path / "step_500"), score_kwargs={"top": 3})
    assert described.name == "cmi_rm step_500"
    assert described.params == {
        "model": "cmi_rm",
        "checkpoint": "step_500",
        "step": "500",
        "digest": "d1",
        "source": str(tmp_path / "step_500"),
        "mode": "final",
        "score_kwargs.top": "3",
    }
    baseline = describe_model({"name": "signal"}, {"name": "signal", "class": "a.Signal", "digest": None, "code": "c"})
    assert baseline.params == {"model": "signal", "source": "a.Signal"}
