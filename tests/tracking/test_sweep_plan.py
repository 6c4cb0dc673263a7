"""The plan of a sweep as a file."""

from cmi_bench.tracking.sweep_plan import PlannedJob, SweepPlan, read_plan, write_plan

PLAN = SweepPlan("a sweep", ("seed",), tuple(PlannedJob(n, (f"seed={n}",), f"seed={n}", None) for n in range(4)), None)


def test_a_plan_is_read_as_it_was_written_and_half_of_one_is_none(tmp_path):
    write_plan(PLAN, tmp_path)
    assert read_plan(tmp_path) == PLAN
    file = tmp_path / "sweep.json"
    file.write_text(file.read_text()[:100])
    assert read_plan(tmp_path) is None
