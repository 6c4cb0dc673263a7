"""What the doctor says of its findings."""

from cmi_bench.doctor.finding import Finding, Severity, as_json, as_table, verdict_of, worst
from cmi_bench.utils.console import some_of


def test_what_is_said_of_it():
    findings = [Finding("a", "b", Severity.OK, "fine"), Finding("a", "c", Severity.WARNING, "odd [1]", "fix")]
    assert worst(findings) is Severity.WARNING
    assert worst([]) is Severity.OK
    assert verdict_of(findings) == "A run would work. 1 warning."
    assert verdict_of([*findings, Finding("d", "e", Severity.PROBLEM, "bad", "fix")]).startswith(
        "A run would not do: 1 problem"
    )
    assert '"status": "warning"' in as_json(findings)
    assert as_table(findings).row_count == 2
    assert some_of(["a", "b", "c", "d"]) == "a, b, c and 1 more"
