"""OpenRLHF's remote reward: `POST /get_reward`.

It sends `{"query": [...], "prompts": [...], "labels": [...]}` and reads `{"rewards": [...], "scores": [...],
"extra_logs": {...}}`; versions before June 2025 read `rewards` alone. A request that fails is made five times. Learned
from OpenRLHF/OpenRLHF at 3c3be62: `openrlhf/utils/agent.py`, `openrlhf/cli/serve_rm.py`,
`openrlhf/trainer/ppo_utils/experience.py`; and at 707b106 (July 2024), where the form began.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from fastapi import APIRouter
from pydantic import BaseModel, Field, field_validator
from starlette.requests import Request

from cmi_bench.api.ranking import By, Criterion
from cmi_bench.errors import UserError
from cmi_bench.serving.inline import InlineSong, SongOutcome, described, from_base64, inline_song, outcomes
from cmi_bench.serving.receive import checked_fields
from cmi_bench.serving.refused import RefusedError
from cmi_bench.serving.wire import AskedModel, ErrorAnswer, ErrorCode, Problem
from cmi_bench.types import Aspect

if TYPE_CHECKING:
    from cmi_bench.serving.app import RewardApp


class OpenRLHFRequest(BaseModel):
    """What OpenRLHF sends. A trainer with several servers sends empty lists to some of them."""

    query: list[str]
    """The songs: each a data URL, `data:audio/flac;base64,...` (RFC 2397), or a path below the audio root."""
    prompts: list[str | None] | None = None
    """What they were made from."""
    labels: list[Any] | None = None
    """What the dataset has as labels: with `?labels=lyrics` in the address the lyrics, else of no use here."""

    @field_validator("query", mode="before")
    @classmethod
    def _one_or_several(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value


class OpenRLHFSettings(AskedModel):
    """What the address says, which is all that OpenRLHF lets one choose: `/get_reward?by=mean&weight=0.7&failed=-1`."""

    model: str | None = None
    """Its name on this server; may be left out where the server has one."""
    by: By = By.MUSICALITY
    """What is rewarded."""
    weight: float = Field(default=0.5, ge=0, le=1)
    """Of musicality in the mean."""
    failed: float | None = Field(default=None, allow_inf_nan=False)
    """The reward of a song that cannot be scored, and in the log its aspects; without it the request fails."""
    labels: Literal["lyrics"] | None = None
    """What the labels are."""


class OpenRLHFAnswer(BaseModel):
    """What OpenRLHF reads, one number for each query."""

    rewards: list[float]
    scores: list[float]
    """The same."""
    extra_logs: dict[str, list[float]]
    """What the trainer's log shows besides: which songs failed (1), and where the mean is rewarded, both aspects.

    The names are the same in all answers: OpenRLHF cannot batch samples that differ in them.
    """


def openrlhf_router(served: "RewardApp") -> APIRouter:
    """Return the route."""
    router = APIRouter(tags=["trainers"], responses={status: {"model": ErrorAnswer} for status in ("4XX", "5XX")})

    @router.post("/get_reward", openapi_extra=described(OpenRLHFRequest, OpenRLHFSettings))
    async def get_reward(request: Request) -> OpenRLHFAnswer:
        """Reward songs in OpenRLHF's form."""
        settings = checked_fields(OpenRLHFSettings, request.query_params)
        asked = await served.body(request, OpenRLHFRequest)
        return _answer(await outcomes(served, request, _songs(asked, settings), settings.model), settings)

    return router


def _songs(asked: OpenRLHFRequest, settings: OpenRLHFSettings) -> list[InlineSong | Problem]:
    prompts = _of_each(asked.prompts, asked, "prompts")
    labels = _of_each(asked.labels if settings.labels else None, asked, "labels")
    return [
        inline_song(_audio(query.strip()), text=prompt or "", lyrics="" if label is None else str(label))
        for query, prompt, label in zip(asked.query, prompts, labels, strict=True)
    ]


def _of_each(values: Sequence[Any] | None, asked: OpenRLHFRequest, name: str) -> Sequence[Any]:
    """Return a value for each query."""
    if values is not None and len(values) != len(asked.query):
        what = f"{len(asked.query)} queries, and {len(values)} {name}."
        raise RefusedError(ErrorCode.INVALID, what, "Send one for each.")
    return [None] * len(asked.query) if values is None else values


def _audio(query: str) -> bytes | str | Problem:
    if not query.startswith("data:"):
        return query
    kind, _, content = query.partition(",")
    if kind.endswith(";base64"):
        return from_base64(content)
    what = f"The data URL {query[:40]!r} is not in base64."
    return Problem(code=ErrorCode.UNREADABLE_AUDIO, what=what, hint="Write data:audio/flac;base64,...")


def _answer(found: Sequence[SongOutcome], settings: OpenRLHFSettings) -> OpenRLHFAnswer:
    """Return the rewards.

    Raises:
        RefusedError: A song failed, and there is no reward for such; or the model does not judge what is rewarded.
    """
    rule, scores = Criterion(settings.by, settings.weight), [one.score for one in found]
    rewards: list[float] = []
    for place, one in enumerate(found, start=1):
        if one.problem is not None and settings.failed is None:
            hint = f"{one.problem.hint} With failed=-1 in the address, such songs have a reward of -1.".strip()
            raise RefusedError(one.problem.code, f"Query {place}: {one.problem.what}", hint)
        rewards.append(rule.value(one.score) if one.problem is None or settings.failed is None else settings.failed)
    try:
        rule.check(scores, settings.model or "The model")
    except UserError as error:
        raise RefusedError(ErrorCode.INVALID, error.what, "Write another by= into the address.") from None
    logs = {"failed": [float(one.problem is not None) for one in found]}
    if rule.by is By.MEAN:
        for aspect in Aspect:
            logs[aspect.value] = [
                reward if one.problem else one.score.value(aspect) for one, reward in zip(found, rewards, strict=True)
            ]
    return OpenRLHFAnswer(rewards=rewards, scores=rewards, extra_logs=logs)
