"""No row that is in a test set is learnt from, or validated on.

Test sets are the benchmark's rows of split test below `data_root`, those of `data.jsonl`, and the test rows that stand
in the files of training rows and in tables of the user's own. Of their audio only digests are taken.
"""

import json
import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

from cmi_bench.data import fields
from cmi_bench.data.manifest import MANIFEST_FILE, ROWS_FILE, read_manifest
from cmi_bench.data.rows import Row
from cmi_bench.errors import UserError, did_you_mean
from cmi_bench.tracking.scored_data import ScoredDataset, describe_datasets
from cmi_bench.training.examples import Example, ExampleSet
from cmi_bench.training.identity import audio_digests, clip_id, clips_of_row, count_words, normalised_text
from cmi_bench.training.rows import TEST, PlacedRow, located, located_path, rows_of_file
from cmi_bench.training_config import OnContamination, TrainTask
from cmi_bench.utils.distributed import is_rank_zero
from cmi_bench.utils.files import is_regular, write_text_atomic

log = logging.getLogger(__name__)

FILE = "contaminated.jsonl"
"""In a training's folder: every row that is in a test set, one line for each way in which it is."""


class Likeness(StrEnum):
    """The ways in which a row can be in a test set: values of `train.contamination`."""

    AUDIO = "audio"
    """A clip is a clip or a reference of a test row, or the reference is a clip of one: the same bytes, or file."""
    CLIP = "clip"
    """The same by its name (`identity.clip_id`): what was encoded once more has other bytes."""
    REFERENCE = "reference"
    """The reference is the reference of a test row, by bytes or name."""
    PROMPT = "prompt"
    """Prompt and lyrics are those of a test row; see `instruction`."""


class Match(NamedTuple):
    """A row that is in a test set."""

    kind: Likeness
    example: Example
    field: str
    """The field of the row that says so."""
    test: PlacedRow

    def describe(self) -> str:
        """Return what was found, for people."""
        says = "prompt and lyrics are those" if self.kind is Likeness.PROMPT else f"{self.field} is audio"
        known = ", known by its name" if self.kind is Likeness.CLIP else ""
        return f"{self.example.place}: {says} of {self.test.place} ({self.test.row.dataset.name}){known}"


LEAST_WORDS = 5
"""Of an instruction that two people would not both have written by chance."""


def instruction(row: Row, digests: Mapping[str, str]) -> str | None:
    """Return what tells an instruction from others: its words, and where it has no lyrics also its reference.

    None for fewer than `LEAST_WORDS` words, such as "upbeat pop song": people who never met write that, it says nearly
    nothing about a clip, and a test of thousands of rows would condemn many rows that have nothing to do with it.
    """
    prompt, lyrics = normalised_text(row.prompt), normalised_text(row.lyrics)
    if count_words(prompt) + count_words(lyrics) < LEAST_WORDS:
        return None
    reference = digests.get(row.ref_audio, row.ref_audio) if row.ref_audio and not lyrics else ""
    return f"{prompt}\n{lyrics}\n{reference}"


@dataclass(frozen=True)
class Checked:
    """The examples that may be learnt from, and what was found."""

    examples: tuple[Example, ...]
    matches: tuple[Match, ...]
    condemned: int
    """Rows that were left out."""
    tests: Mapping[str, int]
    """How many test rows there were to compare with, by dataset."""
    without_digest: int
    """Test rows some of whose audio is not here: they are known by names and words only."""
    datasets: tuple[ScoredDataset, ...] = ()
    """What identifies the test rows, by file and dataset."""

    def describe(self) -> str:
        """Return what was compared and found, for people."""
        tests = ", ".join(f"{name} {count:,}" for name, count in self.tests.items())
        if not tests:
            return "No test rows were there to compare with."
        alike = ", ".join(f"by {kind} {count:,}" for kind, count in self.counts.items())
        return f"Compared with the test rows of {tests}. Rows that are like one: {alike}. Left out: {self.condemned:,}."

    @property
    def counts(self) -> dict[str, int]:
        """Rows in a test set by the way in which they are, whether or not that condemns them."""
        rows = {(match.kind, match.example.row.index) for match in self.matches}
        found = Counter(kind.value for kind, _ in rows)
        return {kind.value: found[kind.value] for kind in Likeness}


def check_contamination(found: ExampleSet, digests: Mapping[str, str], config: TrainTask, folder: Path) -> Checked:
    """Compare examples with every test set that is known.

    What `train.contamination` names condemns a row: with `train.on_contamination=fail` it ends the training, with
    `drop` the row is left out. What it does not name is counted. All of it is written to `contaminated.jsonl`.

    Args:
        found: The examples.
        digests: SHA-256 of their audio, by path; see `identity.audio_digests`.
        config: The training's configuration.
        folder: The training's folder.

    Raises:
        UserError: A row is in a test set, and that is not allowed; names the first ones. Or all of them are.
    """
    condemning = named_kinds(config.train.contamination)
    known = known_test_rows(found, config)
    matches = tuple(find_matches(found.examples, known.rows, {**known.digests, **digests}))
    condemned = {match.example.row.index for match in matches if match.kind in condemning}
    kept = tuple(one for one in found.examples if one.row.index not in condemned)
    checked = Checked(
        kept,
        matches,
        len(condemned),
        dict(Counter(one.row.dataset.name for one in known.rows)),
        sum(any(path not in known.digests for path in one.row.audio_files) for one in known.rows),
        tuple(known.datasets),
    )
    if is_rank_zero():
        _write(matches, condemning, folder / FILE)
    if condemned and config.train.on_contamination is OnContamination.fail:
        raise _refusal(checked, condemning, len(found.examples), folder)
    if not kept:
        raise UserError(
            f"All {len(found.examples):,} training rows are in a test set.", f"{folder / FILE} lists them, with where."
        )
    _report(checked, condemning, folder)
    return checked


def named_kinds(names: Sequence[str]) -> frozenset[Likeness]:
    """Return the kinds that `train.contamination` names.

    Raises:
        UserError: One is none of them; names the nearest.
    """
    for name in names:
        if name not in list(Likeness):
            raise UserError(f"train.contamination: there is no {name!r}.", did_you_mean(name, Likeness))
    return frozenset(Likeness(name) for name in names)


class KnownTests(NamedTuple):
    """Test rows, and what they are known by."""

    rows: list[PlacedRow]
    digests: dict[str, str]
    """SHA-256 of their audio, by path."""
    datasets: list[ScoredDataset]
    """What identifies them, by file and dataset: as of a run that scores them."""


def known_test_rows(found: ExampleSet, config: TrainTask) -> KnownTests:
    """Return every test row that is known.

    Args:
        found: The examples, with the test rows of their files.
        config: The training's configuration.

    Raises:
        UserError: A file of test rows is not right.
    """
    data_root = Path(config.data.root)
    rows = list(found.test_rows)
    digests = dict(audio_digests(data_root, Path(config.data.manifest), (one.row for one in rows)))
    datasets = describe_datasets([one.row for one in rows], read_manifest(Path(config.data.manifest)))
    for file, (root, manifest) in _files_of_tests(config).items():
        if not is_regular(file):
            if is_rank_zero() and not config.data.synthesise:  # made-up rows are in no test set of people's
                log.info("%s is not here, so nothing is compared with the test rows in it.", file)
            continue
        of_file = [one for one in rows_of_file(file, root, allow_outside=True) if one.split == TEST]
        for path, digest in audio_digests(root, manifest, (one.row for one in of_file)).items():
            digests[located_path(path, root, data_root)] = digest
        datasets += describe_datasets([one.row for one in of_file], read_manifest(manifest))
        rows += [one._replace(row=located(one.row, root, data_root)) for one in of_file]
    return KnownTests(rows, digests, datasets)


def _files_of_tests(config: TrainTask) -> dict[Path, tuple[Path, Path]]:
    """Return the files with test rows: what their paths are relative to, and the manifest of their audio."""
    benchmark = Path(config.data_root)
    files = {(benchmark / ROWS_FILE).absolute(): (benchmark, benchmark / MANIFEST_FILE)}
    if config.data.jsonl:
        files[Path(config.data.jsonl).absolute()] = (Path(config.data.root), Path(config.data.manifest))
    return files


def find_matches(
    examples: Iterable[Example], tests: Iterable[PlacedRow], digests: Mapping[str, str]
) -> Iterator[Match]:
    """Yield every way in which an example is in a test set, with one test row for each.

    Args:
        examples: Examples.
        tests: Test rows.
        digests: SHA-256 of the audio of both, by path; what has none is known by its path and its name.
    """
    index = _Index(tests, digests)
    for example in examples:
        row = example.row
        for field, path in zip((fields.AUDIO_A, fields.AUDIO_B), (row.audio_a, row.audio_b), strict=True):
            if path and (hit := index.clip(row, path)):
                yield Match(hit.kind, example, field, hit.test)
        if row.ref_audio and (hit := index.reference(row, row.ref_audio)):
            yield Match(hit.kind, example, fields.REF_AUDIO, hit.test)
        if (words := instruction(row, digests)) and (test := index.instructions.get(words)):
            yield Match(Likeness.PROMPT, example, fields.PROMPT, test)


class _Hit(NamedTuple):
    kind: Likeness
    test: PlacedRow


class _Index:
    """Test rows by what tells them from others; of several alike the first."""

    def __init__(self, tests: Iterable[PlacedRow], digests: Mapping[str, str]) -> None:
        self.digests = digests
        self.clips: dict[str, PlacedRow] = {}
        self.references: dict[str, PlacedRow] = {}
        self.instructions: dict[str, PlacedRow] = {}
        for test in tests:
            for path in clips_of_row(test.row):
                self._add(self.clips, test, path)
            if test.row.ref_audio:
                self._add(self.references, test, test.row.ref_audio)
            if words := instruction(test.row, digests):
                self.instructions.setdefault(words, test)

    def _add(self, known: dict[str, PlacedRow], test: PlacedRow, path: str) -> None:
        for key in (self._content(path), self._name(test.row, path)):
            if key:
                known.setdefault(key, test)

    def _content(self, path: str) -> str:
        return f"content {self.digests.get(path, path)}"

    def _name(self, row: Row, path: str) -> str | None:
        name = clip_id(row, path)
        return f"name {name}" if name else None

    def clip(self, row: Row, path: str) -> _Hit | None:
        """Look up what is judged in a row."""
        for kind, key in ((Likeness.AUDIO, self._content(path)), (Likeness.CLIP, self._name(row, path))):
            if key and (test := self.clips.get(key) or self.references.get(key)):
                return _Hit(kind, test)
        return None

    def reference(self, row: Row, path: str) -> _Hit | None:
        """Look up the reference of a row."""
        content, name = self._content(path), self._name(row, path)
        for kind, known, key in (
            (Likeness.AUDIO, self.clips, content),
            (Likeness.CLIP, self.clips, name),
            (Likeness.REFERENCE, self.references, content),
            (Likeness.REFERENCE, self.references, name),
        ):
            if key and (test := known.get(key)):
                return _Hit(kind, test)
        return None


def _write(matches: Sequence[Match], condemning: Iterable[Likeness], file: Path) -> None:
    """Write what was found; what an earlier training left there goes."""
    if matches:
        write_text_atomic(file, "".join(_line(match, condemning) for match in matches))
    else:
        file.unlink(missing_ok=True)


def _line(match: Match, condemning: Iterable[Likeness]) -> str:
    row = match.example.row
    named = {
        "kind": match.kind.value,
        "condemns": match.kind in condemning,
        "place": match.example.place,
        "source": match.example.source,
        "field": match.field,
        "value": row.raw.get(match.field),
        "test_place": match.test.place,
        "test_dataset": match.test.row.dataset.name,
    }
    return json.dumps(named, ensure_ascii=False) + "\n"


SHOWN = 5
"""Rows listed in a message; the count says how many there are."""


def _refusal(checked: Checked, condemning: Iterable[Likeness], rows: int, folder: Path) -> UserError:
    condemned = [match for match in checked.matches if match.kind in condemning]
    first = {match.example.row.index: match for match in reversed(condemned)}
    shown = [f"\n  {first[number].describe()}" for number in sorted(first)[:SHOWN]]
    more = f"\n  and {len(first) - SHOWN:,} more rows" if len(first) > SHOWN else ""
    return UserError(
        f"{checked.condemned:,} of {rows:,} training rows are in a test set ({_counted(checked)})."
        f"{''.join(shown)}{more}\n{folder / FILE} lists all of them.",
        "Leave them out: train.on_contamination=drop. Or say what may not recur: train.contamination=[audio,clip]"
        " lets prompts and references recur, as in the public training rows.",
    )


def _counted(checked: Checked) -> str:
    return ", ".join(f"by {kind} {count:,}" for kind, count in checked.counts.items() if count)


def _report(checked: Checked, condemning: Iterable[Likeness], folder: Path) -> None:
    if not is_rank_zero():
        return
    if checked.tests:
        log.info("%s", checked.describe())
    if checked.without_digest:
        log.info(
            "Of %d test rows some audio is not here: they are compared by names and words.", checked.without_digest
        )
    if checked.condemned:
        log.warning(
            "Left out %d training rows that are in a test set; %s lists them.", checked.condemned, folder / FILE
        )
    allowed = {kind: count for kind, count in checked.counts.items() if count and Likeness(kind) not in condemning}
    for kind, count in allowed.items():
        log.warning(
            "%d training rows are like test rows by %s, which train.contamination does not forbid; %s lists them.",
            count, kind, folder / FILE,
        )  # fmt: skip
