"""Jobs whose weights are the same: told by digest when they are done, and by their files before."""

from pathlib import Path

from cmi_bench.evaluation.metrics import MetricKey
from cmi_bench.reporting.sweep_jobs import SweepJob, Value
from cmi_bench.sweeps import same_weights
from cmi_bench.sweeps.same_weights import same_files_notes, same_weights_notes
from cmi_bench.tracking.sweep_plan import PlannedJob

SRCC = MetricKey("PAM", "musicality", "SRCC")


def planned(*checkpoints: object, **others: list[object]) -> list[PlannedJob]:
    return [
        PlannedJob(
            at, (f"model.checkpoint='{one}'", *(f"{key}={values[at]}" for key, values in others.items())),
            Path(str(one)).name, None,
        )
        for at, one in enumerate(checkpoints)
    ]  # fmt: skip


def finished(plan: list[PlannedJob], weights: str, values: list[float] | None = None) -> list[SweepJob]:
    """Jobs with these digests, a letter each; " " for one that failed."""
    return [
        SweepJob(
            number=job.number, label=job.label, step=None, status="finished", folder=Path("x"), weights=digest.strip(),
            values={SRCC: Value(values[at] if values else 0.5, None, None)} if digest.strip() else {},
        )
        for at, (job, digest) in enumerate(zip(plan, weights, strict=True))
    ]  # fmt: skip


def test_each_group_of_equal_weights_is_named_once():
    plan = planned("step_1", "step_2", "step_3", "step_4", "step_5", "step_6")
    assert same_weights_notes(plan, finished(plan, "abac b")) == [
        "step_1 and step_3 have the same weights: same scores.",
        "step_2 and step_6 have the same weights: same scores.",
    ]
    assert same_weights_notes(plan, finished(plan, "abcde ")) == []
    many = planned(*range(9))
    assert same_weights_notes(many, finished(many, "a" * 9)) == [
        "0, 1, 2, 3, 4 and 4 more have the same weights: same scores."
    ]


def test_jobs_that_differ_in_more_than_the_checkpoint_may_differ_in_scores():
    plan = planned("x/step_1", "y/step_1", max_dur=[10, 30])
    assert same_weights_notes(plan, finished(plan, "aa")) == []


def test_equal_weights_with_other_scores_are_told_as_such():
    plan = planned("step_1", "step_2")
    (note,) = same_weights_notes(plan, finished(plan, "aa", [0.5, 0.6]))
    assert "not the same scores" in note


def test_a_plan_knows_links_and_small_copies(tmp_path, monkeypatch):
    for step, content in (("step_1", b"one"), ("step_2", b"two"), ("step_3", b"one"), ("step_4", b"longer")):
        (tmp_path / step).mkdir()
        (tmp_path / step / "model.safetensors").write_bytes(content)
    (tmp_path / "best").symlink_to(tmp_path / "step_2")
    plan = planned(*(tmp_path / name for name in ("step_1", "step_2", "step_3", "step_4", "best")), "owner/name@step_9")
    assert same_files_notes(plan) == [
        "step_1 and step_3 have the same files: they will have the same scores.",
        "step_2 and best have the same files: they will have the same scores.",
    ]
    monkeypatch.setattr(same_weights, "MOST_BYTES", 4)  # large files are not read
    assert same_files_notes(plan) == ["step_2 and best have the same files: they will have the same scores."]


def test_other_files_beside_equal_weights_may_change_scores(tmp_path):
    for step, config in (("step_1", "a: 1"), ("step_2", "a: 2")):
        (tmp_path / step).mkdir()
        (tmp_path / step / "model.safetensors").write_bytes(b"one")
        (tmp_path / step / "config.yaml").write_text(config)
    assert same_files_notes(planned(tmp_path / "step_1", tmp_path / "step_2")) == []
