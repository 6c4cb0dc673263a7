"""What validation is on: nothing that is alike is on both sides, near the share that was asked for, and lasting."""

import itertools
import logging

import numpy as np
import pytest

from cmi_bench.data.datasets import CMI_PREF, MUSIC_EVAL
from cmi_bench.data.rows import Row
from cmi_bench.errors import UserError
from cmi_bench.training.examples import Example, Label, Outcome
from cmi_bench.training.splits import split_examples
from cmi_bench.training_config import SplitsConfig
from cmi_bench.types import Aspect

NUMBERS = itertools.count(1)
LABEL = (Label(Aspect.MUSICALITY, Outcome.A),)


def example(a, b=None, *, prompt="", lyrics="", ref=None, systems=(), split="train", source="cmi_pref"):
    raw = {"split": split, **dict(zip(("model_a", "model_b"), systems, strict=False))}
    row = Row(next(NUMBERS), CMI_PREF if b else MUSIC_EVAL, a, b, ref, prompt, lyrics, raw)
    return Example(row, source, LABEL)


def random_examples(rng, rows, *, source="cmi_pref", start=0):
    """Pairs of clips of a prompt, whose lyrics and references are now and then those of other prompts."""
    found = []
    for _ in range(rows):
        prompt, clips = start + rng.integers(rows // 3), rng.integers(5, size=2)
        lyrics = f"words {rng.integers(rows)}" if rng.random() < 0.3 else ""
        ref = f"r{rng.integers(rows)}.mp3" if rng.random() < 0.3 else None
        paths = [f"{source}/{prompt}-{clip}{side}.mp3" for clip, side in zip(clips, "xy", strict=True)]
        found.append(example(*paths, prompt=f"Prompt {prompt}", lyrics=lyrics, ref=ref, source=source))
    return found


def rows_of(examples):
    return {one.row.index for one in examples}


def shared_things(one, digests):
    row = one.row
    audio = {digests.get(path, path) for path in row.audio_files}
    return audio | {("prompt", row.prompt.casefold()), ("lyrics", row.lyrics)} - {("prompt", ""), ("lyrics", "")}


@pytest.mark.parametrize("seed", range(8))
def test_nothing_that_is_alike_is_on_both_sides(seed):
    rng = np.random.default_rng(seed)
    examples = random_examples(rng, 150) + random_examples(rng, 60, source="other", start=40)
    # Some files are copies of others under another name.
    paths = sorted({path for one in examples for path in one.row.audio_files})
    digests = {path: f"sha{rng.integers(len(paths) * 20)}" for path in paths}
    split = split_examples(examples, SplitsConfig(validation=0.2, seed=seed), digests)
    sides = [set().union(*(shared_things(one, digests) for one in side)) for side in (split.training, split.validation)]
    assert sides[0].isdisjoint(sides[1])
    assert split.leaking == 0
    assert rows_of(split.training) | rows_of(split.validation) == rows_of(examples)


@pytest.mark.parametrize("share", [0.05, 0.1, 0.3])
def test_each_source_has_the_share_that_was_asked_for(share):
    rng = np.random.default_rng(1)
    examples = [example(f"{at}.wav", prompt=f"p{rng.integers(60)}", source="musiceval") for at in range(400)]
    examples += random_examples(rng, 300)
    split = split_examples(examples, SplitsConfig(validation=share), {})
    assert [one.source for one in split.shares] == ["cmi_pref", "musiceval"]
    # To half a group of rows: the largest of both sources has 14.
    assert all(abs(one.validation - share * one.rows) <= 7 for one in split.shares)
    assert f"{share:.1%} were asked for" in split.describe()


def test_the_split_depends_on_the_seed_and_neither_on_the_order_nor_much_on_further_rows():
    rng = np.random.default_rng(2)
    examples = [example(f"{at}.wav", prompt=f"p{rng.integers(200)}") for at in range(1000)]
    split = split_examples(examples, SplitsConfig(), {})
    turned = split_examples(examples[::-1], SplitsConfig(), {})
    assert rows_of(turned.validation) == rows_of(split.validation)
    assert [one.row.index for one in turned.validation] == sorted(rows_of(split.validation), reverse=True)
    assert rows_of(split_examples(examples, SplitsConfig(seed=1), {}).validation) != rows_of(split.validation)
    more = examples + [example(f"n{at}.wav", prompt=f"p{rng.integers(220)}") for at in range(100)]
    grown = split_examples(more, SplitsConfig(), {})
    moved = rows_of(split.training) & rows_of(grown.validation) | rows_of(split.validation) & rows_of(grown.training)
    assert len(moved) < 20


def test_rows_hang_together_over_others_and_by_what_is_written_differently():
    chain = [
        example("a.wav", "b.wav", prompt="A calm piano"),
        example("c.wav", "d.wav", prompt=" a CALM\tpiano "),
        example("d.wav", "e.wav", prompt="rock"),
        example("f.wav", "g.wav", prompt="jazz", lyrics="la la"),
        example("copy.wav", "h.wav", prompt="pop", lyrics="LA  la"),
    ]
    others = [example(f"{at}.wav", prompt=f"p{at}") for at in range(40)]
    digests = {"copy.wav": "1", "e.wav": "1"}
    for seed in range(5):
        split = split_examples(chain + others, SplitsConfig(validation=0.4, seed=seed), digests)
        assert len(rows_of(chain) & rows_of(split.validation)) in (0, 5)
        assert split.largest == {"cmi_pref": 5}


def test_votes_on_one_pair_stay_together_whatever_rows_may_share():
    votes = [example("a.wav", "b.wav"), example("b.wav", "a.wav")]
    others = [example(f"{at}.wav", f"{at}b.wav") for at in range(20)]
    for seed in range(5):
        split = split_examples(votes + others, SplitsConfig(validation=0.5, by=[], seed=seed), {})
        assert len(rows_of(votes) & rows_of(split.validation)) in (0, 2)


def test_rows_that_say_so_are_the_validation_of_their_source_and_others_follow(caplog):
    own = [example(f"o{at}.wav", prompt=f"p{at % 8}", split="validation" if at < 4 else "train", source="mine")
           for at in range(16)]  # fmt: skip
    public = [example(f"p{at}.wav", prompt=f"p{at}") for at in range(60)]
    with caplog.at_level(logging.WARNING):
        split = split_examples(own + public, SplitsConfig(), {})
    assert rows_of(split.validation) & rows_of(own) == rows_of(own[:4])
    # Rows of the other source on those four prompts may not be learnt from; on the other four they may.
    assert rows_of(public[:4]) <= rows_of(split.validation)
    assert rows_of(public[4:8]) <= rows_of(split.training)
    assert split.leaking == 4  # own rows 8 to 11, which were not to be moved
    assert "4 training rows share" in caplog.text


def test_a_generator_or_a_source_can_be_left_out():
    rng = np.random.default_rng(3)
    systems = ("suno", "yue", "musicgen")
    examples = [
        example(f"{at}a.wav", f"{at}b.wav", prompt=f"p{at % 30}", systems=rng.choice(systems, 2, replace=False))
        for at in range(90)
    ]
    split = split_examples(examples, SplitsConfig(leave_out_systems=["yue"], validation=0), {})
    with_yue = [one for one in examples if "yue" in (one.row.raw["model_a"], one.row.raw["model_b"])]
    assert rows_of(split.validation) == rows_of(with_yue)
    others = [example(f"m{at}.wav", prompt=f"p{at}", source="musiceval") for at in range(40) if at > 20]
    split = split_examples(examples + others, SplitsConfig(leave_out_sources=["musiceval"], validation=0), {})
    alike = [one for one in examples if int(one.row.prompt[1:]) > 20]
    assert rows_of(split.validation) == rows_of(others + alike)
    assert split.leaking == 0  # what has their prompts goes with them
    with pytest.raises(UserError, match="leave_out_systems: there is no 'yu'") as error:
        split_examples(examples, SplitsConfig(leave_out_systems=["yu"]), {})
    assert "yue" in error.value.hint
    with pytest.raises(UserError, match=r"splits.by: there is no 'promt'"):
        split_examples(examples, SplitsConfig(by=["promt"]), {})


def test_music_eval_is_split_by_the_prompts_that_its_original_names_say():
    rows = [Row(at, MUSIC_EVAL, f"MusicEval_data/train_audio/{at}.wav", None, None, "", "",
                {"original_name": f"S{at:03}_P{at % 12:03}.wav"}) for at in range(60)]  # fmt: skip
    split = split_examples([Example(row, "musiceval", LABEL) for row in rows], SplitsConfig(validation=0.25), {})
    sides = [{one.row.index % 12 for one in side} for side in (split.training, split.validation)]
    assert sides[0].isdisjoint(sides[1])
    assert split.shares[0].validation == 15


def test_no_row_for_validation_or_for_training_is_said_with_what_to_do(caplog):
    alike = [example(f"{at}.wav", prompt="the same") for at in range(20)]
    with pytest.raises(UserError, match=r"no validation rows: .* at most: cmi_pref 20 of 20") as error:
        split_examples(alike, SplitsConfig(), {})
    assert "splits.leave_out_systems" in error.value.hint
    with pytest.raises(UserError, match=r"splits.validation=0 asks for none"):
        split_examples(alike, SplitsConfig(validation=0), {})
    with pytest.raises(UserError, match="All 20 rows are for validation"):
        split_examples(alike, SplitsConfig(leave_out_sources=["cmi_pref"]), {})
    with caplog.at_level(logging.WARNING):
        split_examples(alike + [example(f"x{at}.wav", prompt=f"p{at}") for at in range(10)], SplitsConfig(), {})
    assert "20 of the 30 rows of cmi_pref hang together" in caplog.text
