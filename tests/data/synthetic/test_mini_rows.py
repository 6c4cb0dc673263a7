"""The mini benchmark's rows: complete, valid, in the public file's order and layout."""

import json
from collections import Counter
from pathlib import Path

import pytest

from cmi_bench.data.datasets import CMI_PREF, MUSIC_ARENA, MUSIC_EVAL, PAM
from cmi_bench.data.rows import Row, load_rows
from cmi_bench.data.synthetic.build import plan_mini


@pytest.fixture(scope="module")
def rows(mini_root: Path) -> tuple[Row, ...]:
    return load_rows(mini_root / "all_test.jsonl").rows


def of(rows, dataset):
    return [row for row in rows if row.dataset is dataset]


def test_counts_and_order(rows):
    names = [row.dataset.name for row in rows]
    assert Counter(names) == {"CMI-Pref": 36, "PAM": 30, "MusicEval": 25, "MusicArena": 29}
    assert list(dict.fromkeys(names)) == ["CMI-Pref", "PAM", "MusicEval", "MusicArena"]


def test_nine_pairs_per_condition_whether_the_row_says_it_or_not(rows):
    pairs = of(rows, CMI_PREF)
    assert Counter(row.condition for row in pairs) == dict.fromkeys(
        ("text", "text+lyrics", "text+ref", "text+lyrics+ref"), 9
    )
    told = {("modality" in row.raw) for row in pairs}
    assert told == {True, False}
    for row in pairs:
        assert row.condition == "text" + "+lyrics" * bool(row.lyrics) + "+ref" * bool(row.ref_audio)


def test_a_few_rows_are_for_training(mini_root):
    known = load_rows(mini_root / "all_test.jsonl", split="train")
    assert len(known.rows) == 5
    assert {row.dataset.name for row in known.rows} == {"CMI-Pref", "PAM", "MusicEval", "MusicArena"}


def test_no_source_is_unknown(mini_root):
    assert load_rows(mini_root / "all_test.jsonl").unknown_sources == {}


@pytest.mark.parametrize(
    ("dataset", "folder"),
    [
        (PAM, "human_eval/music/"),
        (MUSIC_EVAL, "MusicEval_data/test_audio/"),
        (MUSIC_ARENA, "MusicArena_data/audio_files/"),
        (CMI_PREF, "cmi-pref/gen-audio/"),
    ],
)
def test_folders_are_the_public_ones(rows, dataset, folder):
    assert all(path.startswith(folder) for row in of(rows, dataset) for path in (row.audio_a, row.audio_b) if path)


def test_the_source_names_the_month_folder(rows):
    months = Counter(row.audio_a.split("/")[2] for row in of(rows, MUSIC_ARENA))
    assert months == {"01-2025JULAUG": 9, "02-2025SEP": 5, "03-2025OCT": 6, "04-2025NOV": 4, "05-2025DEC": 5}
    assert all(row.raw["source"] == f"Music Arena ['{row.audio_a.split('/')[2]}']" for row in of(rows, MUSIC_ARENA))


def test_pam_has_five_clips_of_each_prompt(rows):
    assert sorted(Counter(row.prompt for row in of(rows, PAM)).values()) == [5] * 6


def test_pairs_repeat_clips_prompts_and_references(rows):
    pairs = of(rows, CMI_PREF)
    clips = Counter(path for row in pairs for path in (row.audio_a, row.audio_b))
    references = Counter(row.ref_audio for row in pairs if row.ref_audio)
    assert set(clips.values()) == {2}
    assert set(references.values()) == {3}
    assert len({row.prompt for row in of(rows, MUSIC_ARENA)}) < len(of(rows, MUSIC_ARENA))


def test_ties_are_few_and_in_every_spelling(rows):
    arena = Counter(row.raw["preference"] for row in of(rows, MUSIC_ARENA))
    assert set(arena) == {"A", "B", "TIE", "BOTH_BAD", "both", "neither"}
    assert arena["A"] + arena["B"] == 25
    for field in ("preference-musicality", "preference-alignment"):
        counts = Counter(row.raw[field] for row in of(rows, CMI_PREF))
        assert set(counts) == {"model_a", "model_b", "both"}
        assert 1 <= counts["both"] <= 4


def test_neither_side_is_favoured(rows):
    for dataset, field in ((MUSIC_ARENA, "preference"), (CMI_PREF, "preference-musicality")):
        a_wins = [row.raw[field].lower().endswith("a") for row in of(rows, dataset)]
        assert 0.35 < sum(a_wins) / len(a_wins) < 0.65


def test_confidences_are_half_steps_as_text_and_sometimes_empty(rows):
    given = [
        row.raw[f"confidence_preference-{aspect}"]
        for row in of(rows, CMI_PREF)
        for aspect in ("musicality", "alignment")
    ]
    assert "" in given
    assert {text for text in given if text} <= {f"{half / 2:g}" for half in range(2, 11)}
    # The groups below, at and above 3 are all there.
    assert {(float(text) > 3) - (float(text) < 3) for text in given if text} == {-1, 0, 1}


def test_each_clip_is_planned_once_and_named_by_a_row(rows):
    paths = [clip.path for clip in plan_mini().clips]
    assert len(paths) == len(set(paths))
    assert set(paths) == {path for row in rows for path in row.audio_files}


def test_rows_are_the_same_each_time(mini_root):
    lines = (mini_root / "all_test.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == plan_mini().rows
