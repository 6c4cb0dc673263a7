"""A catalogue from its requests to its parts of scores: what is there is kept, the rest is scored and written."""

from collections.abc import Iterator

from cmi_bench.catalogue.output import ScoreFolder
from cmi_bench.catalogue.parts import PART_SIZE, WHOLE, CataloguePart, Engine, Shard, part_table, plan_parts
from cmi_bench.catalogue.requests import RequestStream


def score_catalogue(
    stream: RequestStream, out: ScoreFolder, engine: Engine, *, size: int = PART_SIZE, shard: Shard = WHOLE
) -> None:
    """Score the parts of a shard that are not there yet, each written as it is done.

    Args:
        stream: The requests.
        out: Where parts go.
        engine: Scores them.
        size: Requests of a part.
        shard: Which parts are this process's.

    Raises:
        UserError: The folder holds parts of something else; nothing can be written; or as `Engine.score`.
    """
    scored_with = engine.scored_with
    done = {facts.part for facts in out.facts()}

    def missing() -> Iterator[CataloguePart]:
        return (part for part in plan_parts(stream, size=size, shard=shard) if part.number not in done)

    for part, answers in engine.score(missing()):
        out.write(part.number, part_table(part, answers, size=size, scored_with=scored_with))
