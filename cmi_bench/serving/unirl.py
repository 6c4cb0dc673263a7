"""UniRL's reward service: `POST /score`, `GET /rewards`, and the names of rewards in `GET /health`.

It sends `{"requests": [{"history": [...], "required_rewards": [...]}]}`, reads `{"results": [...], "errors": [...]}`:
a number that is none makes a failure of the sample. Learned from Tencent-Hunyuan/UniRL at 1a7b501:
`unirl-reward-service/reward_service/schemas.py`, `unirl/reward/remote.py`.
"""

import asyncio
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter
from pydantic import BaseModel, Field
from starlette.requests import Request

from cmi_bench.serving.inline import InlineAudio, InlineSong, SongOutcome, described, from_base64, inline_song, outcomes
from cmi_bench.serving.refused import RefusedError
from cmi_bench.serving.wire import ErrorAnswer, ErrorCode, Problem
from cmi_bench.types import Aspect

if TYPE_CHECKING:
    from cmi_bench.serving.app import RewardApp
    from cmi_bench.serving.service import RewardService


class UniRLTurn(BaseModel):
    """A text with its medium. UniRL has none for audio alone: what its own client sends as a video may be audio."""

    text: str = ""
    audio_b64: str | None = None
    """A file."""
    audio_path: str | None = None
    """A file below the audio root."""
    video_b64: str | None = None
    """As `audio_b64`."""
    video_path: str | None = None
    """As `audio_path`."""


class UniRLSong(BaseModel):
    """A song and what is asked of it."""

    history: list[UniRLTurn] = Field(min_length=1)
    """The song with its prompt; a turn before it is the reference that it was made from."""
    required_rewards: list[str]
    """Of the names that `GET /rewards` tells."""
    metadata: dict[str, Any] | None = None
    """Its "lyrics" are used."""


class UniRLRequest(BaseModel):
    """What UniRL sends."""

    requests: list[UniRLSong]


class UniRLAnswer(BaseModel):
    """What UniRL reads."""

    results: list[dict[str, dict[str, float]]]
    """Of each song, by reward, its numbers by name."""
    errors: list[dict[str, str]]
    """Of each song, by reward, why it has none."""


@dataclass(frozen=True)
class NamedReward:
    """What the name of a reward stands for."""

    model: str
    aspects: tuple[Aspect, ...]


def reward_names(service: "RewardService") -> dict[str, NamedReward]:
    """Return the names of rewards: an aspect where there is one model; each model, with an aspect or with both."""
    models = [spec.name for spec in service.specs]
    names = {aspect.value: NamedReward(models[0], (aspect,)) for aspect in Aspect} if len(models) == 1 else {}
    for model in models:
        names[model] = NamedReward(model, tuple(Aspect))
        names |= {f"{model}/{aspect}": NamedReward(model, (aspect,)) for aspect in Aspect}
    return names


def unirl_router(served: "RewardApp") -> APIRouter:
    """Return the routes."""
    router = APIRouter(tags=["trainers"], responses={status: {"model": ErrorAnswer} for status in ("4XX", "5XX")})

    @router.post("/score", openapi_extra=described(UniRLRequest))
    async def score(request: Request) -> UniRLAnswer:
        """Reward songs in UniRL's form; one that fails costs no other its rewards."""
        asked = (await served.body(request, UniRLRequest)).requests
        rewards = reward_names(served.service)
        _check_known(asked, rewards)
        answer = UniRLAnswer(results=[{} for _ in asked], errors=[{} for _ in asked])
        for model in dict.fromkeys(rewards[name].model for song in asked for name in song.required_rewards):
            own = {name: reward for name, reward in rewards.items() if reward.model == model}
            places = [place for place, song in enumerate(asked) if own.keys() & set(song.required_rewards)]
            songs = await asyncio.to_thread(_songs, [asked[place] for place in places])
            for place, outcome in zip(places, await outcomes(served, request, songs, model), strict=True):
                for name in (one for one in asked[place].required_rewards if one in own):
                    _add(answer, place, name, own[name], outcome)
        return answer

    @router.get("/rewards")
    async def rewards() -> dict[str, list[str]]:
        """Tell the names of rewards."""
        return {"rewards": list(reward_names(served.service))}

    return router


def _check_known(asked: Sequence[UniRLSong], rewards: Mapping[str, NamedReward]) -> None:
    for name in (name for song in asked for name in song.required_rewards):
        if name not in rewards:
            known = f"This server has: {', '.join(rewards)}."
            raise RefusedError(ErrorCode.NOT_FOUND, f"There is no reward {name!r}.", known)


def _songs(asked: Sequence[UniRLSong]) -> list[InlineSong | Problem]:
    return [_song(one) for one in asked]


def _song(asked: UniRLSong) -> InlineSong | Problem:
    *before, last = asked.history
    return inline_song(
        _audio(last),
        text=last.text,
        lyrics=str((asked.metadata or {}).get("lyrics") or ""),
        ref_audio=_audio(before[-1]) if before else None,
    )


def _audio(turn: UniRLTurn) -> InlineAudio | Problem | None:
    content = turn.audio_b64 if turn.audio_b64 is not None else turn.video_b64
    return from_base64(content) if content is not None else turn.audio_path or turn.video_path


def _add(answer: UniRLAnswer, place: int, name: str, reward: NamedReward, outcome: SongOutcome) -> None:
    values = {aspect.value: outcome.score.value(aspect) for aspect in reward.aspects}
    judged = {aspect: value for aspect, value in values.items() if not math.isnan(value)}
    if judged:
        answer.results[place][name] = judged
    else:
        answer.errors[place][name] = outcome.problem.what if outcome.problem else f"{reward.model} does not judge it."
