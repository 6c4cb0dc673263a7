"""A reward function as TRL calls it; the call is written after `GRPOTrainer._calculate_rewards` of TRL 1.10."""

import asyncio
import inspect
import math
import pickle

import numpy as np
import pytest
from wire_server import receipt, toy_score, wire_server

from cmi_bench import Song, UserError
from cmi_bench.client import AsyncRewardClient
from cmi_bench.client.trl import reward_function
from cmi_bench.serving.wire import ErrorCode, Problem


@pytest.fixture(scope="module")
def server():
    with wire_server() as found:
        found.scores[b"broken"] = receipt(None, error=Problem(code=ErrorCode.UNREADABLE_AUDIO, what="No audio."))
        found.scores[b"both"] = receipt(2.0).model_copy(update={"alignment": 4.0})
        yield found


def render(completions, completion_ids, **columns):
    """A module's function, as a trainer with processes needs."""
    return [None if text == "nothing" else text.encode() for text in completions]


def rewards_of(*functions, logged=None, **given):
    """What a trainer makes of reward functions."""

    async def gathered():
        return await asyncio.gather(*(function(**given) for function in functions))

    assert all(inspect.iscoroutinefunction(function) for function in functions)
    found = [[math.nan if value is None else value for value in one] for one in asyncio.run(gathered())]
    return np.array(found).T


def call(prompts, completions, **columns):
    logged = {}
    given = {
        "prompts": prompts,
        "completions": completions,
        "completion_ids": [[1, 2]] * len(prompts),
        "trainer_state": object(),
        "log_extra": lambda column, values: None,
        "log_metric": logged.__setitem__,
        **columns,
    }
    return given, logged


def test_a_trainers_batch(server):
    given, logged = call(
        ["slow", "fast", "odd", "none"], ["one", "two", "broken", "nothing"], lyrics=["la", None, "", ""]
    )
    server.asked.clear()
    found = rewards_of(reward_function(server.url, render), **given)[:, 0]
    assert found[:2].tolist() == [toy_score(b"one"), toy_score(b"two")]
    assert np.isnan(found[2:]).all()
    assert logged == {"musicality_without_reward": 2.0}
    sent = {asked.audio: asked.request.songs[0] for asked in server.asked}
    assert (sent[b"one"].text, sent[b"one"].lyrics, sent[b"two"].lyrics) == ("slow", "la", "")
    assert b"nothing" not in sent


def test_several_rewards_and_conversations(server):
    prompts = [
        [{"role": "system", "content": "Compose."}, {"role": "user", "content": [{"type": "text", "text": "slow"}]}]
    ]
    given, logged = call(prompts, [[{"role": "assistant", "content": "both"}]])

    async def of_messages(completions, **columns):
        return [Song(one[-1]["content"].encode(), text="own words") for one in completions]

    functions = [
        reward_function(AsyncRewardClient(server.url), of_messages, by=by, weight=0.25)
        for by in ("musicality", "alignment", "mean")
    ]
    assert rewards_of(*functions, **given).tolist() == [[2.0, 4.0, 3.5]]
    assert [function.func.__name__ for function in functions] == ["musicality", "alignment", "mean"]
    assert [function.__name__ for function in functions] == ["musicality", "alignment", "mean"]
    assert (logged["musicality"], logged["alignment"]) == (2.0, 4.0)
    assert len(logged) == 5
    assert server.asked[-1].request.songs[0].text == "own words"


def test_it_goes_to_another_process(server):
    given, _ = call(["slow"], ["one"])
    function = pickle.loads(pickle.dumps(reward_function(server.url, render)))
    assert rewards_of(function, **given).tolist() == [[toy_score(b"one")]]


def test_mistakes(server):
    given, _ = call(["slow", "fast"], ["one", "two"])
    with pytest.raises(UserError, match="made 1 songs of 2 completions"):
        rewards_of(reward_function(server.url, lambda **_: [b"one"]), **given)
    with pytest.raises(UserError, match="toy does not judge alignment"):
        rewards_of(reward_function(server.url, render, by="alignment"), **given)
    with pytest.raises(UserError, match="Did you mean"):
        reward_function(server.url, render, by="musicalty")
    nothing, logged = call(["slow"], ["nothing"])
    assert np.isnan(rewards_of(reward_function(server.url, render), **nothing)).all()
    assert logged == {"musicality_without_reward": 1.0}
