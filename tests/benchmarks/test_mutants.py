import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from benchmarks.mutants.__main__ import EQUIVALENT, NAMED, Entry, named_mutation, read_entries, sampled
from benchmarks.mutants.coverage_map import CoverageMap
from benchmarks.mutants.mutations import mutations_of

PROJECT = Path(__file__).parents[2]
MODULE = '''
"""A docstring."""

LIMIT = 3


def grade(score: float, *, low: float = 1.0) -> dict[str, object]:
    """Another."""
    if score < low and not LIMIT:
        raise ValueError(f"{score + 1}")
    return {"score": score * 2, "key": key(score, low, mode="a")}
'''


def changes(source):
    return {(mutation.before, mutation.after) for mutation in mutations_of("m.py", source) if mutation.is_valid}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("LIMIT = 3", "LIMIT = 4"),
        (
            "def grade(score: float, *, low: float = 1.0) -> dict[str, object]:",
            "def grade(score: float, *, low: float = 1.5) -> dict[str, object]:",
        ),
        ("if score < low and not LIMIT:", "if (score <= low) and not LIMIT:"),
        ("if score < low and not LIMIT:", "if (score < low or not LIMIT):"),
        ("if score < low and not LIMIT:", "if (score < low):"),
        ("if score < low and not LIMIT:", "if score < low and LIMIT:"),
        ("if score < low and not LIMIT:", "if (not (score < low and (not LIMIT))):"),
        ('raise ValueError(f"{score + 1}")', "pass"),
        (
            'return {"score": score * 2, "key": key(score, low, mode="a")}',
            """return {"score": score * 2, "key": key(score, low)}""",
        ),
        (
            'return {"score": score * 2, "key": key(score, low, mode="a")}',
            """return {"score": score * 2, "key": key(low, score, mode='a')}""",
        ),
        ('return {"score": score * 2, "key": key(score, low, mode="a")}', "return {'score': score * 2}"),
        ('return {"score": score * 2, "key": key(score, low, mode="a")}', "return None"),
        (
            'return {"score": score * 2, "key": key(score, low, mode="a")}',
            """return {"score": (score / 2), "key": key(score, low, mode="a")}""",
        ),
    ],
)
def test_each_kind_of_mistake_is_made_where_it_can_be(before, after):
    assert (before, after) in changes(MODULE)


def test_docstrings_annotations_and_messages_are_left_alone():
    assert not any('"""' in before or "score + 1" in after for before, after in changes(MODULE))
    assert not any("object" in before and "= 1.5" not in after for before, after in changes(MODULE))


def test_text_that_is_not_ascii_does_not_shift_the_mistakes():
    assert ("name = 'ü' if x > 1 else 'é'", "name = 'ü' if (x >= 1) else 'é'") in changes(
        "name = 'ü' if x > 1 else 'é'"
    )


def test_a_line_is_tested_by_those_who_reach_it_and_a_constant_by_all_who_reach_its_file():
    coverage = CoverageMap(
        seconds={"t.py::slow": 2.0, "u.py::quick": 0.1, "t.py::shared": 0.1, "u.py::other": 0.1},
        fixtures={"t.py::shared": ["fixture ::data"]},
        lines={"m.py": {"9": ["t.py::slow", "fixture ::data"], "11": ["u.py::quick"]}},
    )
    of = {mutation.before: mutation for mutation in mutations_of("m.py", MODULE)}

    assert coverage.tests_of(of["if score < low and not LIMIT:"]) == ["t.py::slow", "t.py::shared"]
    assert coverage.tests_of(of["LIMIT = 3"]) == ["u.py::quick", "t.py::slow", "t.py::shared"]


def test_maps_of_several_folders_are_one():
    first = CoverageMap(seconds={"t.py::a": 1.0}, fixtures={"t.py::a": []}, lines={"m.py": {"4": ["t.py::a"]}})
    second = CoverageMap(seconds={"u.py::b": 0.1}, fixtures={"u.py::b": []}, lines={"m.py": {"4": ["u.py::b"]}})
    constant = mutations_of("m.py", MODULE)[0]

    assert CoverageMap.merged([first, second]).tests_of(constant) == ["u.py::b", "t.py::a"]
    assert first.tests_of(constant) == ["t.py::a"]


def test_a_sample_is_the_same_for_the_same_seed():
    def draw(seed):
        return [mutation.diff for mutation in sampled(["cmi_bench/evaluation/groups.py"], 5, seed)]

    assert draw(1) == draw(1) != draw(2)


@pytest.mark.parametrize("entry", read_entries(NAMED), ids=lambda entry: entry.name)
def test_named_mutants_still_fit_the_code(entry):
    """Where the code of one has changed, its entry in `named.toml` follows."""
    assert named_mutation(entry).is_valid
    assert all((PROJECT / path).exists() for path in entry.tests)


@pytest.mark.parametrize("entry", read_entries(EQUIVALENT), ids=lambda entry: entry.before)
def test_equivalent_mutants_still_fit_the_code(entry):
    """Where the code of one has changed, its entry in `equivalent.toml` follows, or goes."""
    lines = [line.strip() for line in (PROJECT / entry.path).read_text("utf-8").splitlines()]
    assert all(line in lines for line in entry.before.strip().splitlines())
    assert entry.reason


def test_a_named_mutant_whose_text_is_gone_says_so(tmp_path):
    (tmp_path / "m.py").write_text("a = 1\na = 1\n")
    for text in ("b = 1", "a = 1"):
        with pytest.raises(ValueError, match=r"named.toml: 'gone': its text is [02] times in m.py"):
            named_mutation(Entry("m.py", text, "", name="gone"), tmp_path)


@pytest.mark.slow
def test_the_command_tells_what_tests_notice_from_what_they_do_not(tmp_path):
    shutil.copytree(PROJECT / "benchmarks/mutants", tmp_path / "benchmarks/mutants")
    for name, text in {
        "pyproject.toml": "[tool.pytest.ini_options]\nmarkers = ['slow']\npythonpath = ['.']\n",
        "cmi_bench/__init__.py": "",
        "cmi_bench/room/__init__.py": "",
        "cmi_bench/room/thing.py": """
            def tested(x):
                return x + 1

            def loose(x):
                return x + 0.5

            def endless(x):
                while x < 3:
                    x += 1
                return x

            def unreached(x):
                return x + 1
            """,
        "tests/room/test_thing.py": """
            from cmi_bench.room import thing

            def test_it():
                assert thing.tested(1) == 2
                assert thing.loose(1) > 0
                assert thing.endless(0) == 3
            """,
        "benchmarks/__init__.py": "",
        "benchmarks/mutants/equivalent.toml": "",
        "benchmarks/mutants/named.toml": """
            [[mutant]]
            name = "noticed"
            path = "cmi_bench/room/thing.py"
            before = "def tested(x):\\n    return x + 1"
            after = "def tested(x):\\n    return x + 2"
            [[mutant]]
            name = "not noticed"
            path = "cmi_bench/room/thing.py"
            before = "0.5"
            after = "0.7"
            [[mutant]]
            name = "without end"
            path = "cmi_bench/room/thing.py"
            before = "x += 1"
            after = "x += 0"
            [[mutant]]
            name = "not reached"
            path = "cmi_bench/room/thing.py"
            before = "def unreached(x):\\n    return x + 1"
            after = "def unreached(x):\\n    return x + 2"
            """,
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(dedent(text))
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    trial = tmp_path / "benchmarks/mutants/trial.py"
    text = trial.read_text().replace("START_SECONDS = 40.0", "START_SECONDS = 4.0")
    trial.write_text(re.sub(r"LIBRARIES = \(.*\)", "LIBRARIES = ()", text))  # these tests need none

    def run(chosen):
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.mutants", "--set", chosen],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(tmp_path)},
            capture_output=True,
            text=True,
            check=False,
        )
        return done, json.loads((tmp_path / "outputs/bench/mutants.json").read_text())["mutants"]

    done, found = run("named")
    assert {one["name"]: one["status"] for one in found} == {
        "noticed": "killed",
        "not noticed": "survived",
        "without end": "killed by time",
        "not reached": "unreached",
    }, done.stdout + done.stderr
    assert done.returncode == 1
    assert "2 of 4 killed (50.0%)" in done.stdout
    assert "    -    return x + 0.5\n    +    return x + 0.7\n" in done.stdout
    assert [one["name"] for one in run("survived")[1]] == ["not noticed", "not reached"]
    assert "x + 0.5" in (tmp_path / "cmi_bench/room/thing.py").read_text()
