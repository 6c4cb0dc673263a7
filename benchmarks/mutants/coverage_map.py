"""Which tests reach which line: measured once with coverage.py, then kept until a source or a test changes."""

import json
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pytest

from benchmarks.mutants.mutations import Mutation, enclosing_lines

WIDE_SCOPES = {"class", "module", "package", "session"}
PACKAGE = "cmi_bench"
FIXTURE = "fixture "
"""How the context of a shared fixture begins; all other contexts are ids of tests."""


@dataclass
class CoverageMap:
    """What a run of the tests reached."""

    seconds: dict[str, float] = field(default_factory=dict)
    """Of the processor, by test that passed, its fixtures included; in the order of the run."""
    failed: list[str] = field(default_factory=list)
    """Tests that did not pass without any mistake, and tell nothing therefore."""
    fixtures: dict[str, list[str]] = field(default_factory=dict)
    """By test, the shared fixtures it uses: what they reach, each of their tests reaches."""
    lines: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    """By file and line, the tests and shared fixtures that reach it."""

    def tests_of(self, mutation: Mutation) -> list[str]:
        """Return the tests that reach what is changed, the fastest files first.

        A line that runs on import (a constant, a default) is reached by all tests that run its function, or its file.
        """
        reached = self.lines.get(mutation.path, {})
        enclosing = list(enclosing_lines(mutation.original, mutation.lines))
        for first, last in (mutation.lines, *enclosing):
            if tests := self._tests({one for line in range(first, last + 1) for one in reached.get(str(line), ())}):
                return tests
        if enclosing:
            return []
        return self._tests({one for contexts in reached.values() for one in contexts})

    def _tests(self, contexts: set[str]) -> list[str]:
        tests = [
            test for test in self.seconds if test in contexts or contexts.intersection(self.fixtures.get(test, ()))
        ]
        return sorted(tests, key=lambda test: self._mean_seconds(test.split("::")[0], tests))

    def _mean_seconds(self, file: str, tests: Sequence[str]) -> float:
        own = [self.seconds[test] for test in tests if test.split("::")[0] == file]
        return sum(own) / len(own)

    @classmethod
    def merged(cls, maps: Iterable["CoverageMap"]) -> "CoverageMap":
        """Return what the tests of several maps reach together."""
        whole = cls()
        for one in maps:
            whole.seconds |= one.seconds
            whole.failed += one.failed
            whole.fixtures |= one.fixtures
            for path, by_line in one.lines.items():
                reached = whole.lines.setdefault(path, {})
                for line, contexts in by_line.items():
                    reached[line] = [*reached.get(line, ()), *contexts]
        return whole

    def save(self, path: Path) -> None:
        """Write it as JSON."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(self)), "utf-8")

    @classmethod
    def load(cls, path: Path) -> "CoverageMap":
        """Read what `save` wrote."""
        return cls(**json.loads(path.read_text("utf-8")))


class CoverageRecorder:
    """A plugin of pytest: notes for each test, and each shared fixture, the lines that run."""

    def __init__(self, root: Path) -> None:
        import coverage

        self.root = root
        self.map = CoverageMap()
        self._failed: set[str] = set()
        self._test = ""
        self._coverage = coverage.Coverage(data_file=None, config_file=False, source=[str(root / PACKAGE)])

    def start(self) -> None:
        """Begin, before the package is imported."""
        self._coverage.start()

    def result(self) -> CoverageMap:
        """Stop, and return what was reached by tests that passed."""
        self._coverage.stop()
        data = self._coverage.get_data()
        for file in data.measured_files():
            by_line = {
                str(line): [context for context in contexts if context]
                for line, contexts in data.contexts_by_lineno(file).items()
            }
            self.map.lines[str(Path(file).relative_to(self.root))] = by_line
        self.map.seconds = {test: used for test, used in self.map.seconds.items() if test not in self._failed}
        self.map.failed = sorted(self._failed)
        return self.map

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        """Give what runs to the test."""
        self._test = item.nodeid
        definitions = getattr(item, "_fixtureinfo").name2fixturedefs.values()  # noqa: B009
        self.map.fixtures[item.nodeid] = [_name(one[-1]) for one in definitions if one[-1].scope in WIDE_SCOPES]
        self._coverage.switch_context(item.nodeid)
        start = time.process_time()
        yield
        self.map.seconds[item.nodeid] = time.process_time() - start
        self._coverage.switch_context("")

    @pytest.hookimpl(hookwrapper=True)
    def pytest_fixture_setup(self, fixturedef: Any) -> Iterator[None]:
        """Give what a shared fixture runs to the fixture, whichever test comes first."""
        if fixturedef.scope not in WIDE_SCOPES:
            yield
            return
        self._coverage.switch_context(_name(fixturedef))
        yield
        self._coverage.switch_context(self._test)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Leave out what does not pass anyway."""
        if not report.passed:
            self._failed.add(report.nodeid)


def _name(fixturedef: Any) -> str:
    return f"{FIXTURE}{fixturedef.baseid}::{fixturedef.argname}"


class OnlyThese:
    """A plugin of pytest: runs the tests named, in the order given."""

    def __init__(self, tests: Iterable[str]) -> None:
        self._order = {test: number for number, test in enumerate(tests)}

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Drop the other tests of the same files."""
        items[:] = sorted(
            (item for item in items if item.nodeid in self._order), key=lambda item: self._order[item.nodeid]
        )
