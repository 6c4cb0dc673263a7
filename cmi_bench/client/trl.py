"""A reward server as a reward function of TRL's trainers (`GRPOTrainer(reward_funcs=...)`); TRL is not imported.

TRL awaits reward functions that are coroutine functions at the same time, calls each with `prompts`, `completions`,
`completion_ids` and the dataset's other columns, and takes None for a completion without a reward (TRL's docs, "Using a
custom reward function"; read at huggingface/trl f2cd577, tried with TRL 1.16.0).
"""

import asyncio
import inspect
import math
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

from cmi_bench.api.ranking import By, Criterion, criterion
from cmi_bench.api.songs import Song
from cmi_bench.client.asynchronous import AsyncRewardClient
from cmi_bench.errors import UserError
from cmi_bench.types import Aspect, Score

Rendered: TypeAlias = "Sequence[Any]"
"""For each completion its song as `RewardClient.score_batch` takes it, or None where there is none."""
Render: TypeAlias = Callable[..., Any]
RewardFunction: TypeAlias = Callable[..., Coroutine[Any, Any, list[float | None]]]


@dataclass(frozen=True)
class _Asked:
    """What a reward function needs; can be pickled where `render` can."""

    client: AsyncRewardClient
    render: Render
    criterion: Criterion


def reward_function(
    server: str | AsyncRewardClient, render: Render, *, by: str = "musicality", weight: float = 0.5
) -> RewardFunction:
    """Return a reward function for TRL that asks a reward server.

    A song that is audio alone has its prompt (of a conversation the last message of the user) as its text, and its row
    of the dataset's column `lyrics`, if there is one, as its lyrics. A completion without a song, or whose song cannot
    be scored, has no reward (None). Logged is how many of those there are, `<by>_without_reward`; and by "mean" the
    means of both aspects over the batch. Each function renders and sends songs: `by="mean"` is less work than two.

    Args:
        server: The server's address, or a client with settings of its own.
        render: Makes songs of completions. It is called in a thread, with the arguments that TRL gives (`prompts`,
            `completions`, `completion_ids`, the columns), and may be a coroutine function. `AsyncGRPOTrainer` pickles
            reward functions: for that one it has to be a function of a module.
        by: "musicality", "alignment" or "mean"; also the name under which TRL logs the reward.
        weight: Of musicality in the mean, 0 to 1.

    Raises:
        UserError: The address is none, or there is no such thing to reward.
    """
    rule = criterion(by, weight)
    client = AsyncRewardClient(server) if isinstance(server, str) else server
    named = {"musicality": musicality, "alignment": alignment, "mean": mean}[rule.by.value]
    function = partial(named, _Asked(client, render, rule))
    # TRL unwraps a partial function for its name; versions before 1.0 ask the function itself.
    function.__name__ = rule.by.value  # type: ignore[attr-defined]
    return function


async def musicality(asked: _Asked, **given: Any) -> list[float | None]:
    """Reward by musicality."""
    return await _rewards(asked, **given)


async def alignment(asked: _Asked, **given: Any) -> list[float | None]:
    """Reward by alignment."""
    return await _rewards(asked, **given)


async def mean(asked: _Asked, **given: Any) -> list[float | None]:
    """Reward by the weighted mean of both."""
    return await _rewards(asked, **given)


async def _rewards(
    asked: _Asked,
    *,
    prompts: Sequence[Any],
    completions: Sequence[Any],
    log_metric: Callable[[str, float], None] | None = None,
    **columns: Any,
) -> list[float | None]:
    if log_metric is not None:
        columns["log_metric"] = log_metric
    rendered = await _rendered(asked.render, prompts=prompts, completions=completions, **columns)
    if len(rendered) != len(completions):
        raise UserError(
            f"render has made {len(rendered)} songs of {len(completions)} completions.",
            "It returns one for each, None for a completion that is no song.",
        )
    lyrics = columns.get("lyrics") or [""] * len(prompts)
    songs = {
        place: song
        if isinstance(song, Mapping | Song)
        else {"audio": song, "text": text_of(prompt), "lyrics": words or ""}
        for place, (song, prompt, words) in enumerate(zip(rendered, prompts, lyrics, strict=True))
        if song is not None
    }
    receipts = await asked.client.score_batch(songs.values())
    scores = [receipt.score for receipt in receipts]
    if receipts:
        asked.criterion.check(scores, receipts[0].model.name)
    rewards: list[float | None] = [None] * len(prompts)
    for place, score in zip(songs, scores, strict=True):
        value = asked.criterion.value(score)
        rewards[place] = None if math.isnan(value) else value
    if log_metric is not None:
        for name, value in _logged(asked.criterion, scores, rewards).items():
            log_metric(name, value)
    return rewards


def _logged(rule: Criterion, scores: Sequence[Score], rewards: Sequence[float | None]) -> dict[str, float]:
    """Return what is logged, always under the same names: TRL's processes have to agree in them."""
    values = {f"{rule.by}_without_reward": float(rewards.count(None))}
    if rule.by is By.MEAN:
        for aspect in Aspect:
            judged = [score.value(aspect) for score in scores if not score.error]
            values[aspect.value] = math.fsum(judged) / len(judged) if judged else math.nan
    return values


async def _rendered(render: Render, **given: Any) -> Rendered:
    if inspect.iscoroutinefunction(render):
        return await render(**given)  # type: ignore[no-any-return]
    # A vocoder takes a while, in which other reward functions shall go on.
    return await asyncio.to_thread(render, **given)


def text_of(prompt: Any) -> str:
    """Return the text of a prompt; of a conversation that of the user's last message.

    >>> text_of("a slow song")
    'a slow song'
    >>> text_of([{"role": "system", "content": "You compose."}, {"role": "user", "content": "a slow song"}])
    'a slow song'
    """
    if isinstance(prompt, str):
        return prompt
    messages = [message for message in prompt if message.get("role") == "user"]
    content = messages[-1]["content"] if messages else ""
    if isinstance(content, str):
        return content
    return "".join(part.get("text", "") for part in content if part.get("type") == "text")
