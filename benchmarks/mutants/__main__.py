"""`make mutants`: put mistakes into the package one at a time, and print those that no test notices.

    make mutants                                          # in the files that differ from `main`
    make mutants SINCE=HEAD~3 SAMPLE=40                   # in those that differ from another revision
    make mutants FILES="cmi_bench/scoring/store.py"       # in these files or folders
    make mutants SET=survived                             # once more those that no test noticed the last time
    make mutants SET=named                                # the fixed set: each of them must die

A sample is drawn with a seed (SEED=0), and mutants run on a copy of the tree with the tests of the mirrored folder
(others with TESTS="tests/tasks tests/sweeps", further ones for those that survive with THEN=; slow ones are left out).
`equivalent.toml` lists mutants that change nothing anyone could see, each with the reason: they are not counted.
Results go to `outputs/bench/mutants.json` too.
"""

import argparse
import itertools
import json
import os
import random
import subprocess
import sys
import tempfile
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from benchmarks.mutants.coverage_map import PACKAGE, CoverageMap
from benchmarks.mutants.mutations import Mutation, mutations_of
from benchmarks.mutants.trial import Copy, Result

PROJECT = Path(__file__).parents[2]
NAMED = Path(__file__).with_name("named.toml")
EQUIVALENT = Path(__file__).with_name("equivalent.toml")
OUTPUT = PROJECT / "outputs/bench"
RESULTS = OUTPUT / "mutants.json"
NICE = 10
console = Console(highlight=False, markup=False, soft_wrap=True)


@dataclass(frozen=True)
class Entry:
    """A mutant written down: lines of a file, and what they become."""

    path: str
    before: str
    """Text of the file, found in it once; of equivalent mutants the whole changed lines, without indentation."""
    after: str
    name: str = ""
    reason: str = ""
    """Why nothing could notice an equivalent mutant."""
    tests: list[str] = field(default_factory=list)
    """Files or folders of tests instead of those of the mirrored folder."""


def read_entries(file: Path) -> list[Entry]:
    """Read a list of mutants (`[[mutant]]` in TOML)."""
    return [Entry(**one) for one in tomllib.loads(file.read_text("utf-8")).get("mutant", [])]


def named_mutation(entry: Entry, project: Path = PROJECT) -> Mutation:
    """Apply a named mutant.

    Raises:
        ValueError: Its text is not in the file, or more than once: the code has changed, and the entry must follow.
    """
    file = project / entry.path
    original = file.read_text("utf-8") if file.exists() else ""
    count = original.count(entry.before)
    if count != 1:
        raise ValueError(f"{NAMED.name}: {entry.name!r}: its text is {count} times in {entry.path}, not once.")
    first = len(original[: original.index(entry.before)].encode())
    span = first, first + len(entry.before.encode())
    return Mutation(entry.path, "named", original, span, entry.after, entry.name)


def mirrored(path: str, project: Path = PROJECT) -> list[str]:
    """Return the test files of the folder that mirrors a file's, or the nearest above it that has some.

    >>> "tests/scoring/test_store.py" in mirrored("cmi_bench/scoring/store.py")
    True
    """
    folder = project / "tests" / Path(path).parent.relative_to(PACKAGE)
    while not (found := sorted(folder.glob("test_*.py"))):
        folder = folder.parent
    return [str(file.relative_to(project)) for file in found]


def changed_since(revision: str) -> list[str]:
    """Return the package's files that differ from a revision."""
    command = ["git", "diff", "--name-only", "--diff-filter=d", revision, "--", f"{PACKAGE}/*.py"]
    done = subprocess.run(command, cwd=PROJECT, check=False, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"git knows no revision {revision!r}.\nName another: make mutants SINCE=HEAD~1")
    return done.stdout.split()


def files_named(names: Iterable[str]) -> list[str]:
    """Return the package's files among these files and folders."""
    found = []
    for name in names:
        path = PROJECT / name
        if not path.exists():
            raise SystemExit(f"{name} does not exist.\nName files or folders of the package: FILES=cmi_bench/scoring")
        inside = sorted(path.rglob("*.py")) if path.is_dir() else [path]
        found += [str(one.resolve().relative_to(PROJECT)) for one in inside]
    return list(dict.fromkeys(found))


def sampled(files: Sequence[str], size: int, seed: int) -> list[Mutation]:
    """Draw mutants from these files, all equally likely, without those known to be equivalent."""
    mutants = [mutant for file in files for mutant in mutations_of(file, (PROJECT / file).read_text("utf-8"))]
    random.Random(seed).shuffle(mutants)
    console.print(f"{len(mutants)} mutants in {len(files)} files; {min(size, len(mutants))} are tried (seed {seed})")
    return list(itertools.islice((one for one in noticeable(mutants) if one.is_valid), size))


def noticeable(mutants: Iterable[Mutation]) -> Iterator[Mutation]:
    """Leave out those known to be equivalent, which nothing could notice."""
    equivalent = {(one.path, one.before.strip(), one.after.strip()) for one in read_entries(EQUIVALENT)}
    return (one for one in mutants if (one.path, one.before, one.after) not in equivalent)


def survivors() -> list[Mutation]:
    """Return the mutants that survived the last time, as far as the code that they change is still there."""
    if not RESULTS.exists():
        raise SystemExit(f"There is no {RESULTS.relative_to(PROJECT)}.\nRun make mutants first.")
    last = [one for one in json.loads(RESULTS.read_text("utf-8"))["mutants"] if not one["status"].startswith("killed")]
    names = {one["name"] for one in last}
    found = list(_applied(one for one in read_entries(NAMED) if one.name in names))
    for one in last:
        if not one["name"] and (file := PROJECT / one["path"]).exists():
            again = [each for each in mutations_of(one["path"], file.read_text("utf-8")) if each.diff == one["diff"]]
            found += again[:1]
    return list(noticeable(found))


def main() -> None:
    """Run from the command line; the exit status is 1 when a named mutant survives, or fits the code no more."""
    words = _arguments()
    os.nice(NICE)
    entries = [one for one in read_entries(NAMED) if words.only in one.name]
    if words.set == "named":
        mutants = list(_applied(entries))
    elif words.set == "survived":
        mutants = survivors()
    else:
        files = files_named(words.files) if words.files else changed_since(words.since)
        mutants = sampled(files, words.sample, words.seed)
    if not mutants:
        console.print("Nothing to mutate.")
        return
    with tempfile.TemporaryDirectory(prefix="mutants-") as scratch:
        copy, results = Copy(PROJECT, Path(scratch)), []
        instead = {one.name: one.tests for one in entries}
        try:
            for mutation in mutants:
                results.append(_tried(mutation, copy, words, instead.get(mutation.name)))
                _show(results[-1], len(results), len(mutants))
        except KeyboardInterrupt:
            console.print("Stopped by hand; what was tried is kept.")
    _summarise(results, words)
    if words.set == "named" and sum(result.is_killed for result in results) < len(entries):
        raise SystemExit(1)


def _tried(mutation: Mutation, copy: Copy, words: argparse.Namespace, instead: Sequence[str] | None) -> Result:
    """Run the tests of a mutant's room, and further ones if it survives those."""
    named = words.tests or instead
    tests = [(one,) for one in named] if named else [tuple(mirrored(mutation.path))]
    result = copy.try_mutation(mutation, _coverage(copy, tests), words.budget)
    if words.then and not result.is_killed:
        result = copy.try_mutation(mutation, _coverage(copy, [(one,) for one in words.then]), words.budget)
    return result


def _applied(entries: Iterable[Entry]) -> Iterator[Mutation]:
    for entry in entries:
        try:
            yield named_mutation(entry)
        except ValueError as error:
            console.print(str(error))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.mutants", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("files", nargs="*", help="files or folders of the package; those changed when none is named")
    parser.add_argument("--since", default="main", help="revision that changed files differ from (main)")
    parser.add_argument("--set", choices=("changed", "survived", "named"), default="changed")
    parser.add_argument("--only", default="", help="of the named set, those whose name contains this")
    parser.add_argument("--sample", type=int, default=30, help="how many mutants are tried (30)")
    parser.add_argument("--seed", type=int, default=0, help="of the sample (0)")
    parser.add_argument(
        "--tests", nargs="*", default=[], help="files or folders of tests instead of the mirrored one's"
    )
    parser.add_argument("--then", nargs="*", default=[], help="files or folders of tests for those that survive")
    parser.add_argument(
        "--budget", type=float, default=60.0, help="seconds of processor time for the tests of a mutant (60)"
    )
    return parser.parse_args()


def _coverage(copy: Copy, tests: Iterable[tuple[str, ...]]) -> CoverageMap:
    """Return what these tests reach together; each of them is measured once, and kept until something changes."""
    maps = []
    for one in tests:
        saved = OUTPUT / "mutants_coverage" / f"{copy.key(one)}.json"
        if not saved.exists():
            console.print(f"measuring which lines the tests reach: {' '.join(one)}")
            copy.measure_coverage(one, saved)
            if failed := CoverageMap.load(saved).failed:
                console.print(f"skipped, or failing without a mistake, and left out: {', '.join(failed)}")
        maps.append(CoverageMap.load(saved))
    return CoverageMap.merged(maps)


def _show(result: Result, number: int, total: int) -> None:
    mutation = result.mutation
    what = mutation.name or f"{mutation.path}:{mutation.lines[0]} {mutation.kind}"
    console.print(f"[{number}/{total}] {result.status}: {what} ({result.tests} tests, {result.seconds:.0f} s)")
    if not result.is_killed:
        console.print("\n".join(f"    {line}" for line in mutation.diff.splitlines()))


def _summarise(results: Sequence[Result], words: argparse.Namespace) -> None:
    killed = sum(result.is_killed for result in results)
    console.print(f"\n{killed} of {len(results)} killed ({killed / max(len(results), 1):.1%})")
    counts = Counter(result.status for result in results)
    console.print(", ".join(f"{count} {status}" for status, count in counts.most_common()))
    record = {
        "command": sys.argv[1:],
        "set": words.set,
        "seed": words.seed,
        "killed": killed,
        "mutants": [
            {
                "path": result.mutation.path,
                "line": result.mutation.lines[0],
                "kind": result.mutation.kind,
                "name": result.mutation.name,
                "status": result.status,
                "tests": result.tests,
                "seconds": round(result.seconds, 1),
                "cause": result.cause,
                "diff": result.mutation.diff,
            }
            for result in results
        ],
    }
    OUTPUT.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n", "utf-8")


if __name__ == "__main__":
    main()
