"""A catalogue from its requests to its parts of scores: what is there is kept, the rest is scored and written."""

import contextlib
import logging
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from cmi_bench.catalogue.output import FAILED, OTHER, ScoreFolder, part_name
from cmi_bench.catalogue.parts import (
    PART_SIZE,
    RESULT_COLUMNS,
    WHOLE,
    Answer,
    CataloguePart,
    Engine,
    PartFacts,
    ScoredWith,
    Shard,
    facts_of,
    part_table,
    plan_parts,
)
from cmi_bench.catalogue.requests import RequestStream
from cmi_bench.errors import UserError
from cmi_bench.utils.console import ProgressBar
from cmi_bench.utils.files import writing_to
from cmi_bench.utils.waiting import TELL_SECONDS, locked

log = logging.getLogger(__name__)


class CatalogueProgress:
    """How much of a catalogue is scored: songs, songs and hours of music a second, the time left; on stderr."""

    def __init__(self) -> None:
        self._bar: ProgressBar | None = None
        self._began = time.monotonic()
        self._seconds = 0.0
        self._failed = 0
        self._ahead = 0

    @contextlib.contextmanager
    def shown(self, total: int, *, done: int, failed: int) -> Iterator[None]:
        """Show it for as long as the block runs.

        Args:
            total: Songs to score.
            done: How many of them were scored before.
            failed: How many of those could not be.
        """
        self._failed, self._began = failed, time.monotonic()
        with ProgressBar("scoring", total, unit="song", done=done) as self._bar:
            self._remark()
            yield

    def heard(self, songs: int) -> None:
        """Count the songs that were listened to of a part that is not finished: so many so far."""
        if self._bar is not None and songs > self._ahead:
            self._bar.advance(songs - self._ahead)
            self._ahead = songs

    def finished(self, facts: PartFacts, seconds: float) -> None:
        """Count a part.

        Args:
            facts: The part's.
            seconds: Audio that was judged.
        """
        self._failed += facts.failed
        self._seconds += seconds
        if self._bar is not None:
            self._remark()
            self._bar.advance(facts.requests - self._ahead)
        self._ahead = 0

    def _remark(self) -> None:
        assert self._bar is not None
        hours = self._seconds / 3600 / max(time.monotonic() - self._began, 1e-9)
        rate = f", {hours:.3g} h of music/s" if hours else ""
        self._bar.remark = f"{rate}, {self._failed} failed" if self._failed else rate


class CatalogueScores(NamedTuple):
    """What a process's share of a catalogue came to."""

    requests: int
    """How many there are in it, with those that were scored before."""
    failed: int
    """How many of them could not be scored."""


def score_catalogue(
    stream: RequestStream,
    out: ScoreFolder,
    engine: Engine,
    *,
    size: int = PART_SIZE,
    shard: Shard = WHOLE,
    retry_failed: bool = False,
    progress: CatalogueProgress | None = None,
) -> CatalogueScores:
    """Score the parts of a shard that are not there yet, each written as it is done; then list what failed.

    Args:
        stream: The requests.
        out: Where parts go.
        engine: Scores them.
        size: Requests of a part.
        shard: Which parts are this process's.
        retry_failed: Do those parts again in which songs could not be scored.
        progress: Shows how far it is.

    Raises:
        UserError: The folder holds parts of something else; nothing can be written; or as `Engine.score`.
    """
    progress = progress or CatalogueProgress()
    _check_free(stream)
    out.check_writable()
    with _alone(out, shard):
        numbers = out.numbers()
        _check_end(numbers, stream, size=size, out=out)
        known = out.facts([one for one in numbers if shard.has(one)] or numbers[:1])
        scored_with = engine.scored_with
        for number, facts in sorted(known.items()):
            _check_same(number, facts, scored_with, size=size, out=out)
        share = {number: facts for number, facts in known.items() if shard.has(number)}
        done = {number: facts for number, facts in share.items() if not (retry_failed and facts.failed)}
        before = CatalogueScores(
            sum(facts.requests for facts in done.values()), sum(facts.failed for facts in done.values())
        )
        missing = _missing(stream, done, size=size, shard=shard, out=out)
        with (
            progress.shown(_requests_of(shard, stream.count, size), done=before.requests, failed=before.failed),
            contextlib.closing(engine.score(missing)) as scored,
        ):
            for part, answers in scored:
                share[part.number] = _write(part, answers, out, size=size, scored_with=scored_with)
                progress.finished(share[part.number], sum(answer.seconds for answer in answers))
    out.write_failed()
    found = CatalogueScores(
        sum(facts.requests for facts in share.values()), sum(facts.failed for facts in share.values())
    )
    _tell(found, out, shard=shard, parts=len(share), scored=found.requests - before.requests)
    return found


def _write(
    part: CataloguePart, answers: list[Answer], out: ScoreFolder, *, size: int, scored_with: ScoredWith
) -> PartFacts:
    table = part_table(part, answers, size=size, scored_with=scored_with)
    out.write(part.number, table)
    return facts_of(table)


def _missing(
    stream: RequestStream, done: Mapping[int, PartFacts], *, size: int, shard: Shard, out: ScoreFolder
) -> Iterator[CataloguePart]:
    """Yield the parts that are to be scored, and look whether those that are there answer the same requests."""
    for part in plan_parts(stream, size=size, shard=shard):
        facts = done.get(part.number)
        if facts is None:
            yield part
        elif facts.requests_sha256 != part.digest:
            raise UserError(
                f"{out}/{part_name(part.number)} answers other requests than the table has there now: those from"
                f" {part.first + 1} to {part.first + part.requests.num_rows}.",
                "Choose another --out. Or, where rows were only added at the end, remove that part: it is made again,"
                " and what the cache of scores knows is not scored anew.",
            )


@contextlib.contextmanager
def _alone(out: ScoreFolder, shard: Shard) -> Iterator[None]:
    """Keep a second process from doing the same work; where there are no locks it may, and writes the same parts."""
    if not isinstance(out.place, Path):
        yield
        return
    with contextlib.ExitStack() as stack:
        with writing_to(out.place, instead=OTHER), contextlib.suppress(NotImplementedError):
            file = out.place / f".shard-{shard.number}-of-{shard.count}.lock"
            stack.enter_context(locked(file, seconds=TELL_SECONDS, what=f"scores shard {shard} into {out}"))
        yield


def _check_free(stream: RequestStream) -> None:
    taken = [name for name in RESULT_COLUMNS.names if name in stream.schema.names]
    if taken:
        raise UserError(
            f"The requests have {'a column' if len(taken) == 1 else 'columns'} of their own called {', '.join(taken)}.",
            "The scores are written beside the requests' columns under these names: rename them.",
        )


def _check_end(numbers: list[int], stream: RequestStream, *, size: int, out: ScoreFolder) -> None:
    last = (stream.count - 1) // size
    if numbers and numbers[-1] > last:
        raise UserError(
            f"{out} holds {part_name(numbers[-1])}, and {stream.count} requests in parts of {size} end with"
            f" {part_name(last)}.",
            "It holds the scores of other requests, or of parts of another size. Choose another --out.",
        )


def _check_same(number: int, facts: PartFacts, scored_with: ScoredWith, *, size: int, out: ScoreFolder) -> None:
    differing = facts.scored_with.differences(scored_with)
    if facts.part_size != size:
        differing.append(f"part_size: {facts.part_size}, not {size}")
    if differing:
        raise UserError(
            f"{out}/{part_name(number)} was made with another model or with other settings: {'; '.join(differing)}.",
            "Choose another --out, or the model and settings it was made with.",
        )


def _requests_of(shard: Shard, count: int, size: int) -> int:
    """Return how many of the requests are a shard's."""
    parts = range(shard.number - 1, -(-count // size), shard.count)
    return sum(min(size, count - number * size) for number in parts)


def _tell(found: CatalogueScores, out: ScoreFolder, *, shard: Shard, parts: int, scored: int) -> None:
    of = "" if shard == WHOLE else f" of shard {shard}"
    log.info(
        "%s: %d songs in %d part%s%s, %d of them scored now, %d failed.",
        *(out, found.requests, parts, "" if parts == 1 else "s", of, scored, found.failed),
    )
    if found.failed:
        log.info("%s/%s has the reasons; --retry-failed tries those songs again.", out, FAILED)
