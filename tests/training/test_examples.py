"""What training learns from: rows of the benchmark's form and tables of one's own, with their labels and weights."""

import json
from pathlib import Path

import pytest
from own_tables import write_table

from cmi_bench.config import DataConfig, TableConfig
from cmi_bench.data import fields
from cmi_bench.data.datasets import dataset_of_row
from cmi_bench.data.rows import names_anywhere
from cmi_bench.errors import UserError
from cmi_bench.training.examples import Outcome, load_examples
from cmi_bench.types import Aspect


def pref(name="0", **more):
    clips = {"audio-path": f"cmi-pref/gen-audio/{name}a.mp3", "audio2": f"cmi-pref/gen-audio/{name}b.mp3"}
    return {"source": "cmi-arena-annotation", "split": "train", **clips, "preference-musicality": "model_a", **more}


def mos(name="0", **more):
    path = f"MusicEval_data/train_audio/{name}.wav"
    return {"source": "MusicEval", "split": "train", "audio-path": path, "musicality": 4.0, **more}


def data_of(folder, rows=(), **settings):
    file = folder / "all_train.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    given = {"jsonl": None, "root": str(folder), "train_root": str(folder), "name": "mine"} | settings
    return DataConfig(**({"train_jsonl": str(file)} if rows else {}) | given)


def values(example_set):
    return [{label.aspect.value: label.value for label in example.labels} for example in example_set.examples]


def test_rows_of_the_benchmark_with_labels_of_both_aspects(tmp_path):
    rows = [
        pref("0", **{"preference-alignment": "B"}),
        pref("1", split="test"),
        mos(musicality="2.5", split="Training"),
        {"source": "Music Arena x", "split": "train", "audio-path": "a.mp3", "audio2": "b.mp3", "preference": "B"},
        pref("2", split="dev"),
    ]
    found = load_examples(data_of(tmp_path, rows))
    assert values(found) == [
        {"alignment": Outcome.B, "musicality": Outcome.A},
        {"musicality": 2.5},
        {"musicality": Outcome.B},  # which song is better as a whole
        {"musicality": Outcome.A},
    ]
    assert [one.source for one in found.examples] == ["cmi_pref", "musiceval", "music_arena", "cmi_pref"]
    assert [one.split for one in found.examples] == ["train", "train", "train", "validation"]
    assert [one.row.index for one in found.examples] == [1, 3, 4, 5]


@pytest.mark.parametrize(
    ("spelling", "outcome"),
    [("A", Outcome.A), ("TIE", Outcome.TIE), ("both", Outcome.TIE), ("BOTH_BAD", Outcome.BOTH_BAD),
     ("neither", Outcome.BOTH_BAD)],
)  # fmt: skip
def test_both_bad_is_told_from_a_tie(tmp_path, spelling, outcome):
    found = load_examples(data_of(tmp_path, [pref(**{"preference-musicality": spelling})]))
    assert values(found) == [{"musicality": outcome}]


PSEUDO_LABELS = {"preference-musicality": "model_b", "preference-alignment": "tie"}


@pytest.mark.parametrize("source", ["cmi-pref-pseudo", "cmi-arena-annotation", "Qwen3-Omni votes", None])
def test_pseudo_labelled_rows_are_known_by_their_folder_whatever_their_source_says(tmp_path, source):
    clips = {"audio-path": "cmi-pref-pseudo/audio/1.mp3", "audio2": "cmi-pref-pseudo/audio/2.mp3"}
    row = {"split": "train", **clips, **PSEUDO_LABELS} | ({"source": source} if source else {})
    found = load_examples(data_of(tmp_path, [row, pref()]))
    assert [one.source for one in found.examples] == ["cmi_pref_pseudo", "cmi_pref"]
    assert values(found)[0] == {"musicality": Outcome.B, "alignment": Outcome.TIE}
    # Validation reads results rows: they must say whose they are.
    assert dataset_of_row(found.examples[0].row.raw) is found.examples[0].row.dataset
    assert dataset_of_row({"source": "cmi-arena-annotation"}).slug == "cmi_pref"


def test_any_source_that_the_benchmark_does_not_know_is_a_dataset_of_its_own(tmp_path):
    rows = [
        {"source": "AIME survey (2024)", "audio-path": "a.wav", "audio2": "b.wav", "preference": "A",
         "confidence_preference": "2"},
        {"source": "lab ratings", "split": "train", "audio-path": "c.wav", "text-music alignment": 2},
        {"source": "lab ratings", "split": "train", "audio-path": "d.wav", "musicality": 4.5},
    ]  # fmt: skip
    found = load_examples(data_of(tmp_path, rows))
    assert [one.source for one in found.examples] == ["aime_survey_2024", "lab_ratings", "lab_ratings"]
    assert values(found) == [{"musicality": Outcome.A}, {"alignment": 2.0}, {"musicality": 4.5}]


def test_paths_below_a_root_of_the_training_rows_are_found_from_the_data_root(tmp_path):
    root = tmp_path / "elsewhere"
    found = load_examples(data_of(tmp_path, [pref(**{"ref-audio-path": "r.mp3"})], train_root=str(root)))
    row = found.examples[0].row
    assert (row.audio_a, row.ref_audio) == (str(root / "cmi-pref/gen-audio/0a.mp3"), str(root / "r.mp3"))
    # A digest of the rows is the same wherever that root is.
    assert names_anywhere([row])[row.audio_a] == "cmi-pref/gen-audio/0a.mp3"
    with pytest.raises(UserError, match="outside of the data root"):
        load_examples(data_of(tmp_path, [mos("../../..//etc/x")]))


def table_of(folder, rows, name="p.csv", **settings):
    return data_of(folder, csv=str(write_table(folder / name, rows)), **settings)


def test_a_table_without_splits_is_for_training_and_one_with_them_says_so_itself(tmp_path):
    rows = [{"song": "a.wav", "prompt": "p", "rating": "7", "split": "train"},
            {"song": "b.wav", "prompt": "q", "rating": "2", "split": "test"},
            {"song": "c.wav", "prompt": "q", "rating": "10", "split": "validation"}]  # fmt: skip
    found = load_examples(table_of(tmp_path, rows, scale=[0, 10]))
    assert values(found) == [{"musicality": pytest.approx(3.8)}, {"musicality": 5.0}]
    assert [one.split for one in found.examples] == ["train", "validation"]
    without = [{name: cell for name, cell in row.items() if name != "split"} for row in rows]
    assert len(load_examples(table_of(tmp_path, without, scale=[0, 10])).examples) == 3


def test_ratings_on_an_unknown_scale_ask_for_it(tmp_path):
    rows = [{"song": "a.wav", "rating": "7"}]
    with pytest.raises(UserError, match=r"scale that is not known.*\n?.*") as error:
        load_examples(table_of(tmp_path, rows))
    assert "data.scale=[1,5]" in error.value.hint
    own = {"theirs": TableConfig(csv=str(tmp_path / "p.csv"))}
    with pytest.raises(UserError) as error:
        load_examples(data_of(tmp_path, own=own))
    assert "data.own.theirs.scale=" in error.value.hint


VOTES = [
    {"A": "a.wav", "B": "b.wav", "winner": "A", "rater": "anna"},
    {"A": "a.wav", "B": "b.wav", "winner": "B", "rater": "ben"},
    {"A": "b.wav", "B": "a.wav", "winner": "B", "rater": "chloe"},
    {"A": "c.wav", "B": "d.wav", "winner": "both bad", "rater": "anna"},
    {"A": "c.wav", "B": "d.wav", "winner": "both bad", "rater": "ben"},
    {"A": "c.wav", "B": "d.wav", "winner": "tie", "rater": "chloe"},
    {"A": "e.wav", "B": "f.wav", "winner": "neither", "rater": "anna"},
]


def test_several_raters_of_a_pair_are_their_majority_weighted_by_its_share(tmp_path):
    plain = load_examples(table_of(tmp_path, VOTES))
    assert values(plain) == [{"musicality": Outcome.A}, {"musicality": Outcome.BOTH_BAD}, {"musicality": Outcome.TIE}]
    assert [one.labels[0].weight for one in plain.examples] == [1.0, 1.0, 1.0]
    weighed = load_examples(table_of(tmp_path, VOTES), use_confidence=True)
    # Two of three, and three of three who saw no winner: in proportion, with mean 1. One rater alone says no share.
    assert [one.labels[0].weight for one in weighed.examples] == pytest.approx([0.8, 1.2, 1.0])


def test_confidence_weighs_with_mean_one_in_each_source_and_aspect_and_empty_counts_as_the_mean(tmp_path):
    field, other = "confidence_preference-musicality", "confidence_preference-alignment"
    rows = [
        pref("0", **{field: "1.5"}),
        pref("1", **{field: "4.5", "preference-alignment": "B", other: 5}),
        pref("2", **{field: ""}),
        mos(),
    ]
    found = load_examples(data_of(tmp_path, rows), use_confidence=True)
    weights = [{label.aspect: label.weight for label in one.labels} for one in found.examples]
    musicality = [weight[Aspect.MUSICALITY] for weight in weights]
    assert musicality == pytest.approx([0.5, 1.5, 1.0, 1.0])
    assert weights[1][Aspect.ALIGNMENT] == 1.0
    with pytest.raises(UserError, match=r"Row 1 of CMI-Pref.*confidence_preference-musicality.*9"):
        load_examples(data_of(tmp_path, [pref(**{field: 9})]))


def test_sources_are_chosen_limited_and_counted(tmp_path):
    rows = [pref(str(number)) for number in range(4)] + [mos(str(number)) for number in range(3)]
    rows[1]["preference-musicality"] = ""
    rows += [pref("9", split="held back"), pref("10", split="test")]
    data = data_of(tmp_path, rows)
    found = load_examples(data, limit=3)
    assert found.describe().split("; ") == [
        "cmi_pref 2, musiceval 3",
        "left out, as they have no label: cmi_pref 1",
        "passed over, as they are of another split: held back 1",
    ]
    assert [one.source for one in load_examples(data, sources=["musiceval"]).examples] == ["musiceval"] * 3
    with pytest.raises(UserError, match=r"'musicaleval' \(sampling.sources\)") as error:
        load_examples(data, sources=["musicaleval"])
    assert "musiceval" in error.value.hint


def test_a_source_without_labels_is_named_with_its_rows(tmp_path):
    rows = [pref(), mos("0", musicality=None), mos("1", musicality="")]
    with pytest.raises(UserError, match="None of the 2 rows of the source musiceval has a label") as error:
        load_examples(data_of(tmp_path, rows))
    assert "sampling.sources=[cmi_pref]" in error.value.hint
    assert len(load_examples(data_of(tmp_path, rows), sources=["cmi_pref"]).examples) == 1
    unknown = [{"source": "theirs", "audio-path": "a.wav", "stars": 3}]
    with pytest.raises(UserError, match="None of the 1 rows of the source theirs has a label"):
        load_examples(data_of(tmp_path, unknown))


def test_nothing_to_learn_from_is_said_with_what_to_do(tmp_path):
    with pytest.raises(UserError, match="has no rows to learn from"):
        load_examples(data_of(tmp_path))
    with pytest.raises(UserError, match=r"does not exist \(data.train_jsonl\)") as error:
        load_examples(data_of(tmp_path, train_jsonl=str(tmp_path / "none.jsonl")))
    assert "data.with_training=true" in error.value.hint
    with pytest.raises(UserError, match="No row is of split train or validation"):
        load_examples(data_of(tmp_path, [pref(split="later")]))
    with pytest.raises(UserError, match=r"all_train.jsonl, line 2: the field 'preference-musicality': 'C' is not"):
        load_examples(data_of(tmp_path, [pref(), pref(**{"preference-musicality": "C"})]))
    mixed = [{"source": "x", "audio-path": "a", "audio2": "b", "preference": "A"}, {"source": "x", "audio-path": "a"}]
    with pytest.raises(UserError, match="line 2: rows of the source x have two clips and others have one"):
        load_examples(data_of(tmp_path, mixed))


def test_rows_of_files_and_tables_have_numbers_of_their_own(tmp_path):
    own = {"mine": TableConfig(csv=str(write_table(tmp_path / "p.csv", VOTES)))}
    found = load_examples(data_of(tmp_path, [pref(), pref("1")], own=own))
    numbers = [one.row.index for one in found.examples]
    assert numbers == sorted(set(numbers))
    assert len(numbers) == 5
    assert Path(found.tables[0].table.file).name == "p.csv"
    assert found.examples[-1].row.raw[fields.SPLIT] == "train"
