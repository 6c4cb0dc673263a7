import numpy as np
import pytest
from scored_rows import VALID_PAIR, arena, clip

from cmi_bench.config import MetricSettings
from cmi_bench.data.datasets import CMI_PREF, MUSIC_ARENA, MUSIC_EVAL, dataset_of_row, month_of
from cmi_bench.evaluation.evaluate import evaluate
from cmi_bench.evaluation.samples import decided_pairs, select_rows


def test_rows_keep_their_number_and_other_splits_are_counted():
    selection = select_rows([clip(1, 1, split="train"), clip(2, 2), {**clip(3, 3), "split": None}], "test")
    assert [row.number for row in selection.rows_of[MUSIC_EVAL]] == [2]
    assert selection.notes == ["1 row of split 'None' left out.", "1 row of split 'train' left out."]


def test_without_any_split_all_rows_are_taken():
    rows = [{key: value for key, value in clip(1, 1).items() if key != "split"}] * 2
    assert len(select_rows(rows, "test").rows_of[MUSIC_EVAL]) == 2


def test_unknown_sources_are_counted():
    strange = {"source": "else", "split": "test", "audio-path": "x.wav"}
    selection = select_rows([clip(1, 1), strange, strange], "test")
    assert selection.notes == ["2 rows of unknown source 'else' left out."]


def test_datasets_come_in_the_tables_order_whatever_the_files_order():
    selection = select_rows([arena("A", 1, 0), clip(1, 1)], "test")
    assert list(selection.rows_of) == [MUSIC_EVAL, MUSIC_ARENA]


def test_no_row_at_all_is_said():
    assert select_rows([], "test").notes == ["No row of split 'test' to evaluate."]


def test_an_unknown_source_falls_back_on_the_path_then_on_the_dataset_given():
    row = arena("A", 1, 0, source="else", benchmark_dataset="CMI-Pref")
    assert dataset_of_row(row) is MUSIC_ARENA
    row |= {"audio-path": "a.mp3", "audio2": "b.mp3"}
    assert dataset_of_row(row) is CMI_PREF
    assert dataset_of_row(row | {"benchmark_dataset": "Unknown"}) is None


@pytest.mark.parametrize(
    ("row", "month"),
    [
        ({"audio-path": "MusicArena_data/audio_files/02-2025SEP/a.mp3"}, "02-2025SEP"),
        ({"audio-path": "/root/MusicArena_data/audio_files/02-2025SEP/deep/a.mp3"}, "02-2025SEP"),
        ({"audio-path": "", "audio2": "MusicArena_data/audio_files/03-2025OCT/b.mp3"}, "03-2025OCT"),
        ({"audio-path": "MusicArena_data/audio_files/a.mp3"}, "unknown"),
        ({"audio-path": None}, "unknown"),
        ({}, "unknown"),
    ],
)
def test_the_month_is_the_folder_after_audio_files(row, month):
    assert month_of(row) == month


def decided(rows, **settings):
    (samples,) = evaluate(rows, MetricSettings(**settings)).samples
    return decided_pairs(samples)


def test_scores_stand_by_who_was_preferred():
    rows = [
        {"source": "else", "split": "test"},  # row numbers count what is left out
        arena("A", 1.0, 0.25, **VALID_PAIR),
        arena("B", 1.0, 0.25, **VALID_PAIR),
        arena("TIE", 1.0, 0.0, **VALID_PAIR),
        arena("", 1.0, 0.0, **VALID_PAIR),
        arena("A", None, None, inference_valid_a=False, inference_valid_b=True),
        arena("B", 2.0, 2.0, **VALID_PAIR),
    ]
    pairs = decided(rows)
    assert pairs.rows.tolist() == [2, 3, 7]
    assert pairs.lead.tolist() == [0.75, -0.75, 0.0]
    assert pairs.credit.tolist() == [1.0, 0.0, 0.5]
    assert pairs.preferred.tolist() == [1.0, 0.25, 2.0]


@pytest.mark.parametrize("protocol", ["strict", "paper"])
def test_infinite_scores_and_rows_that_only_state_a_preference_have_no_margin(protocol):
    stated = arena("A", 1.0, 0.0)
    del stated["predicted_musicality"], stated["predicted_musicality_b"]
    pairs = decided([arena("A", np.inf, 0.0), stated, arena("A", "0.5", "0.25")], protocol=protocol)
    assert pairs.rows.tolist() == [3]
    assert pairs.lead.tolist() == [0.25]


@pytest.mark.parametrize(
    ("flag", "is_valid"),
    [
        *((flag, True) for flag in (True, "true", " True ", 1, 1.0, "1", "1.0", None, "")),
        *((flag, False) for flag in (False, "false", 0, 0.0, "0", "no", 2, "valid")),
    ],
)
def test_how_a_row_says_that_a_clip_was_scored(flag, is_valid):
    row = arena("A", 1.0, 0.25, inference_valid_a=flag, inference_valid_b=True)
    assert decided([row, arena("B", 1.0, 0.25, **VALID_PAIR)]).rows.tolist() == ([1, 2] if is_valid else [2])
