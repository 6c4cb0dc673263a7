"""Parts of a catalogue: so many consecutive requests each, and the table of scores that answers them.

Part i holds the requests i * size to (i + 1) * size - 1, so that any number of processes agree on the parts without a
word between them. A part's table is settled by its requests, the model and its settings: nothing in it comes from a
time, a host or a shard. So parts are the unit of work, of resuming, and of what appears on disk.
"""

import hashlib
import json
import math
import re
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import pyarrow as pa

from cmi_bench.catalogue.columns import AUDIO, LYRICS, REF_AUDIO, TEXT, audio_place
from cmi_bench.catalogue.requests import RequestStream
from cmi_bench.data.fields import SPREAD
from cmi_bench.errors import UserError
from cmi_bench.types import Aspect, Score
from cmi_bench.utils.addresses import Place

if TYPE_CHECKING:
    from cmi_bench.config import Config
    from cmi_bench.models.base import BenchmarkModelABC

PART_SIZE = 4096
"""Requests of a part."""


@dataclass(frozen=True)
class Shard:
    """Which of several processes this one is; part i is of shard i % count + 1."""

    number: int = 1
    """From 1."""
    count: int = 1

    def has(self, part: int) -> bool:
        """Tell whether a part is of this shard."""
        return part % self.count == self.number - 1

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"


WHOLE = Shard()
"""All parts, of one process."""


def parse_shard(word: str) -> Shard:
    """Read "3/64", the third of 64.

    Raises:
        UserError: It is no such pair of numbers.

    >>> parse_shard("3/64").has(2), parse_shard("3/64").has(3)
    (True, False)
    """
    found = re.fullmatch(r"(\d{1,9})/(\d{1,9})", word.strip())
    shard = Shard(int(found[1]), int(found[2])) if found else None
    if shard is None or not 1 <= shard.number <= shard.count:
        raise UserError(f"--shard {word} is no shard.", "Write K/N with K from 1 to N, such as 3/64.")
    return shard


class AskedSong(NamedTuple):
    """What one request asks about."""

    number: int
    """Of the request in the whole stream, from 0."""
    name: str
    """Its audio as the request has it; "" where it names none."""
    audio: Place | None
    """Where that is; None where it names none."""
    text: str
    lyrics: str
    ref_audio: Place | None
    ref_name: str = ""
    """The reference as the request has it."""


@dataclass(frozen=True)
class CataloguePart:
    """Consecutive requests; may be sent to other processes (it can be pickled)."""

    number: int
    """From 0."""
    first: int
    """Number of its first request in the stream."""
    requests: pa.Table
    """The requests' own columns, with the stream's schema."""
    root: Place
    """What paths of audio are relative to."""

    @cached_property
    def digest(self) -> str:
        """SHA-256 over the requests' columns, their types and values, whatever file or form they came from."""
        found = hashlib.sha256()
        for column in self.requests.schema:
            values = self.requests[column.name].to_pylist()
            found.update(json.dumps([column.name, str(column.type), values], default=repr).encode())
        return found.hexdigest()

    def songs(self) -> list[AskedSong]:
        """Return what is asked, in order."""
        columns = (self._texts(name) for name in (AUDIO, TEXT, LYRICS, REF_AUDIO))
        return [
            AskedSong(
                number,
                audio,
                audio_place(audio, self.root) if audio.strip() else None,
                text,
                lyrics,
                audio_place(reference, self.root) if reference.strip() else None,
                reference,
            )
            for number, (audio, text, lyrics, reference) in enumerate(zip(*columns, strict=True), start=self.first)
        ]

    def _texts(self, name: str) -> list[str]:
        if name not in self.requests.column_names:
            return [""] * self.requests.num_rows
        return [value or "" for value in self.requests[name].to_pylist()]


def plan_parts(stream: RequestStream, *, size: int = PART_SIZE, shard: Shard = WHOLE) -> Iterator[CataloguePart]:
    """Yield the parts of a shard, in order, as the stream is read; the requests of others are passed over.

    Args:
        stream: All requests.
        size: Requests of a part.
        shard: Which parts.
    """
    number, kept, rows = 0, list[pa.Table](), 0

    def part() -> CataloguePart:
        table = pa.concat_tables(kept).combine_chunks()
        return CataloguePart(number, number * size, table, stream.root)

    for table in stream.tables():
        start = 0
        while start < table.num_rows:
            taken = min(size - rows, table.num_rows - start)
            if shard.has(number):
                kept.append(table.slice(start, taken))
            start, rows = start + taken, rows + taken
            if rows == size:
                if kept:
                    yield part()
                number, kept, rows = number + 1, [], 0
    if kept:
        yield part()


@dataclass(frozen=True)
class ScoredWith:
    """What settles the scores of a part besides its requests; goes into the part's metadata."""

    model: str
    """Its name."""
    identity: str | None
    """What settles a score besides the clip and the settings; None of a model that does not say."""
    weights: str | None
    """SHA-256 over the weights and what else settles scores."""
    code: str
    """Stands for the code that computes."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """`max_dur`, `precision` and `score_kwargs`."""

    @classmethod
    def of(cls, model: "BenchmarkModelABC", config: "Config") -> "ScoredWith":
        """Return what a model that was built from a configuration scores with."""
        from cmi_bench.scoring.code_identity import code_identity

        settings = {
            "max_dur": config.max_dur,
            "precision": config.precision.value,
            "score_kwargs": dict(config.model.get("score_kwargs") or {}),
        }
        name = str(config.model["name"])
        return cls(name, model.identity, model.weights_digest, code_identity(model), settings)

    def differences(self, other: "ScoredWith") -> list[str]:
        """Return what differs, as "max_dur: 60.0, not 120.0" with this one's value first."""
        mine, others = ({**asdict(one), **one.settings} for one in (self, other))
        names = [name for name in dict.fromkeys([*mine, *others]) if name != "settings"]
        return [
            f"{name}: {mine.get(name)}, not {others.get(name)}" for name in names if mine.get(name) != others.get(name)
        ]


class Answer(NamedTuple):
    """What is known of one request when it has been dealt with."""

    score: Score
    """Or the reason why there is none."""
    audio_sha256: str | None = None
    """Of the file's bytes; None where it could not be read."""
    alignment_note: str = ""
    """What has to be known of the alignment; see `api.songs.alignment_note`."""
    seconds: float = 0.0
    """How much audio was judged, for the progress; not in the table."""


SPREADS = {aspect: f"{aspect}{SPREAD}" for aspect in (Aspect.MUSICALITY, Aspect.ALIGNMENT)}
ALIGNMENT_NOTE, AUDIO_SHA256, ERROR = "alignment_note", "audio_sha256", "error"
RESULT_COLUMNS = pa.schema(
    [
        *(pa.field(aspect.value, pa.float64()) for aspect in SPREADS),
        *(pa.field(name, pa.float64()) for name in SPREADS.values()),
        *(pa.field(name, pa.string()) for name in (ALIGNMENT_NOTE, AUDIO_SHA256, ERROR)),
    ]
)
"""What a part's table has behind the requests' own columns; null where there is nothing to say."""
METADATA = b"cmi_bench"
"""Key of a part's facts in the Parquet file's metadata; the value is JSON of `PartFacts`."""


@dataclass(frozen=True)
class PartFacts:
    """What a part says of itself in its metadata."""

    part: int
    part_size: int
    requests: int
    """How many it answers."""
    requests_sha256: str
    """See `CataloguePart.digest`."""
    failed: int
    """How many of them could not be scored."""
    scored_with: ScoredWith

    def to_json(self) -> str:
        """Return the metadata's text."""
        return json.dumps(asdict(self), sort_keys=True, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str | bytes) -> "PartFacts":
        """Read the metadata's text.

        Raises:
            ValueError: It is not what `to_json` writes.
        """
        try:
            value = json.loads(text)
            scored_with = ScoredWith(**value.pop("scored_with"))
            known = {one.name for one in fields(cls)}
            return cls(**{name: one for name, one in value.items() if name in known}, scored_with=scored_with)
        except (TypeError, KeyError, AttributeError) as error:
            raise ValueError(f"not the facts of a part: {error}") from error


def part_table(part: CataloguePart, answers: Sequence[Answer], *, size: int, scored_with: ScoredWith) -> pa.Table:
    """Return a part's table: one row for each request, in order, and what the part says of itself in its metadata.

    A NaN in a column that the model judges elsewhere in the part is a failure of that song.

    Args:
        part: The requests.
        answers: One for each of them, in their order.
        size: Requests of a full part.
        scored_with: What the answers come from.
    """
    from cmi_bench.scoring.model_call import mark_partial_nan

    marked = mark_partial_nan({str(number): answer.score for number, answer in enumerate(answers)})
    scores = list(marked.values())
    columns: dict[str, list[Any]] = {
        **{aspect.value: [_null_for_nan(one.value(aspect)) for one in scores] for aspect in SPREADS},
        **{name: [_null_for_nan(one.spread(aspect)) for one in scores] for aspect, name in SPREADS.items()},
        ALIGNMENT_NOTE: [answer.alignment_note or None for answer in answers],
        AUDIO_SHA256: [answer.audio_sha256 for answer in answers],
        ERROR: [one.error or None for one in scores],
    }
    table = part.requests
    for column in RESULT_COLUMNS:
        table = table.append_column(column, pa.array(columns[column.name], column.type))
    failed = sum(bool(one.error) for one in scores)
    facts = PartFacts(part.number, size, len(scores), part.digest, failed, scored_with)
    return table.replace_schema_metadata({METADATA: facts.to_json().encode()})


def facts_of(table: pa.Table) -> PartFacts:
    """Return what a part says of itself.

    Raises:
        ValueError: It is no table of a part.
    """
    return PartFacts.from_json((table.schema.metadata or {}).get(METADATA, b""))


def _null_for_nan(value: float) -> float | None:
    return None if math.isnan(value) else value


class Engine(Protocol):
    """Scores parts: in this process, or on a cluster.

    `catalogue.run.score_catalogue` chooses the parts that are to be done, writes each as it comes, and counts.
    """

    @property
    def scored_with(self) -> ScoredWith:
        """What parts are scored with; asked for before the first part is."""

    def score(self, parts: Iterator[CataloguePart]) -> Generator[tuple[CataloguePart, list[Answer]], None, None]:
        """Yield each part with an answer for each of its requests, in any order of parts.

        Parts are taken from the iterator as there is room for them: it reads the stream of requests. Where it is
        closed early, what it was doing is stopped.

        Raises:
            UserError: Something is no single song's fault: the disk is full, the model takes too long.
        """
