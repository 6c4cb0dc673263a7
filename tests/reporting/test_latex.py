from cmi_bench.config import MetricSettings
from cmi_bench.evaluation.evaluate import evaluate
from cmi_bench.reporting.metrics import latex_lines


def test_six_lines_each_under_its_comment(evaluation):
    lines = latex_lines(evaluation, "my_run").splitlines()
    assert len(lines) == 12
    assert all(line.startswith("% ") for line in lines[::2])
    assert all(line.startswith("my_run & ") and line.endswith(r" \\") for line in lines[1::2])


def test_what_is_not_known_is_a_dash(nothing):
    for comment, line in zip(*[iter(latex_lines(nothing, "x").splitlines())] * 2, strict=True):
        assert set(line.removesuffix(r" \\").split(" & ")[1:]) == {"-"}, comment


def test_groups_that_are_switched_off_are_dashes(mixed):
    settings = MetricSettings(by_condition=False, by_reference=False, by_lyrics=False, by_confidence=False)
    musicality = latex_lines(evaluate(mixed, settings), "x").splitlines()[7]
    assert musicality == r"x & 50.00 & - & - & - & - & - \\"


def test_a_mean_is_taken_over_what_is_known(evaluation):
    # PAM musicality is undefined and CMI-Pref alignment not applicable in these rows.
    assert latex_lines(evaluation, "x").splitlines()[5] == r"x & 1.0000 & - & - & 50.00 \\"
