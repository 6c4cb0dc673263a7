import json

import pytest
from registries import restored_registries
from scored_rows import VALID, VALID_PAIR, arena, clip, cmi

from cmi_bench.config import MetricSettings
from cmi_bench.evaluation.pairing import Run
from cmi_bench.reporting.viewer.audio import AudioMode, PageAudio
from cmi_bench.reporting.viewer.document import page_document
from cmi_bench.reporting.viewer.lines import choose_rows, view_lines


def document(tmp_path, *rows_of, most=100):
    runs = [Run(f"run {at}", rows, f"{at}/results.jsonl") for at, rows in enumerate(rows_of)]
    datasets = view_lines(runs, MetricSettings())
    audio = PageAudio(AudioMode.LINK, [tmp_path / "data"], tmp_path)
    made = page_document(datasets, choose_rows(datasets, most, 0), runs, audio)
    return json.loads(json.dumps(made, allow_nan=False))


def text(made, number):
    return made["texts"][number]


def test_a_pair_with_all_that_is_known_of_it(tmp_path):
    (tmp_path / "data/cmi-pref/gen-audio").mkdir(parents=True)
    (tmp_path / "data/cmi-pref/gen-audio/a.mp3").touch()
    row = cmi(
        "A", "both", (2.0, 1.0, 0.123456789, -0.5), **VALID_PAIR,
        **{"prompt": " slow piano ", "lyrics": "la\nla", "model_a": "alder", "model_b": "birch",
           "ref-audio-path": "ref.wav", "confidence_preference-musicality": "4.5"},
    )  # fmt: skip
    failed = row | {"predicted_musicality": None, "inference_valid_b": False, "inference_error": "cannot decode"}
    made = document(tmp_path, [row], [failed])
    rows, lines = made["rows"], made["lines"]
    assert [text(made, rows[name][0]) for name in ("prompt", "lyrics", "systemA", "systemB")] == [
        "slow piano", "la\nla", "alder", "birch",
    ]  # fmt: skip
    assert [[path, url] for path, url, _ in (made["audio"][rows[name][0]] for name in ("a", "b", "ref"))] == [
        ["cmi-pref/gen-audio/a.mp3", "data/cmi-pref/gen-audio/a.mp3"],
        ["cmi-pref/gen-audio/b.mp3", None],
        ["ref.wav", None],
    ]
    assert [task["name"] for task in made["datasets"][0]["tasks"]] == ["alignment", "musicality"]
    assert (lines["row"], lines["task"], lines["label"]) == ([0, 0], [0, 1], [0, 1])
    assert (lines["remark"][0], text(made, lines["remark"][1])) == (-1, "confidence 4.5 of 5")
    first, second = lines["runs"]
    assert (first["a"], first["b"], first["prediction"]) == ([0.123457, 2], [-0.5, 1], [1, 1])
    assert [made["marks"][at] for at in (*first["mark"], *second["mark"])] == [
        "half right", "right", "failed", "failed",
    ]  # fmt: skip
    assert {int(run): text(made, error) for run, error in rows["errors"][0].items()} == {1: "cannot decode"}
    assert (first["distance"], second["distance"]) == ([1, -1], [None, None])
    assert {"key": "ref_subset", "value": "ref", "keyName": "reference audio", "name": "with"} in made["groups"]
    named = [[made["groups"][at]["keyName"] for at in groups] for groups in lines["groups"]]
    assert named[1][-2:] == ["system", "system"]
    assert "annotator's confidence" in named[1]
    assert "annotator's confidence" not in named[0]


def test_a_rated_clip(tmp_path):
    made = document(tmp_path, [clip(3.5, 0.25, **VALID), clip(4, float("inf"), **VALID)])
    lines = made["lines"]
    assert made["datasets"][0]["tasks"] == [{"name": "musicality", "isPair": False}]
    assert lines["label"] == [3.5, 4]
    assert lines["runs"][0]["a"] == [0.25, "Infinity"]
    assert (made["rows"]["b"], made["rows"]["ref"], made["rows"]["prompt"]) == ([-1, -1], [-1, -1], [-1, -1])


def test_an_ensembles_spread_stands_beside_its_scores_and_no_other_run_has_it(tmp_path):
    plain = [arena("A", 1, 0), arena("B", 1, 0)]
    spread = {"predicted_musicality_spread": 0.25, "predicted_musicality_spread_b": 0.5}
    plain_run, ensemble = document(tmp_path, plain, [plain[0] | spread, plain[1]])["lines"]["runs"]
    assert (ensemble["spreadA"], ensemble["spreadB"]) == ([0.25, None], [0.5, None])
    assert not {"spreadA", "spreadB"} & set(plain_run)


def test_texts_and_audio_are_kept_once(tmp_path):
    rows = [arena("A", at, 0, prompt="the same", **{"audio-path": "x.mp3"}) for at in range(3)]
    made = document(tmp_path, rows)
    assert made["texts"].count("the same") == 1
    assert [path for path, *_ in made["audio"]].count("x.mp3") == 1


def test_rows_that_are_left_out_leave_nothing(tmp_path):
    rows = [arena("A", at, 1, prompt=f"prompt {at}", **VALID_PAIR) for at in range(5)]
    made = document(tmp_path, rows, most=1)
    assert made["rows"]["number"] == [1]  # the only mistake
    assert made["texts"] == ["prompt 0"]


@pytest.mark.parametrize("owner", [0, 1])
def test_a_row_says_whose_number_it_has(tmp_path, owner):
    rows_of = [[arena("A", 1, 0)], [arena("A", 1, 0), arena("B", 1, 0, prompt="only here")]]
    made = document(tmp_path, *rows_of)
    assert (made["rows"]["owner"][owner], made["rows"]["number"][owner]) == (owner, owner + 1)
    assert made["lines"]["runs"][0]["mark"][1] == -1


OWN = {"source": "own:mine", "split": "test", "inference_valid_a": True, "inference_valid_b": True}


def declared(*, pairs, task):
    return {"name": "mine", "pairs": pairs, "tasks": [task], "scale": None, "group_by": {"style": "style"}}


def test_ones_own_ratings_with_what_each_rater_said(tmp_path):
    row = OWN | {
        "own_dataset": declared(pairs=False, task="musicality"), "audio-path": "a.wav", "style": "jazz",
        "musicality": 80.25, "predicted_musicality": 0.5, "ratings": {"musicality": {"anna": 80.0, "ben": 80.5}},
    }  # fmt: skip
    with restored_registries():
        made = document(tmp_path, [row, row | {"ratings": {"musicality": [80.0, 80.5]}}, row | {"ratings": None}])
    assert [task["name"] for task in made["datasets"][0]["tasks"]] == ["musicality"]
    lines = made["lines"]
    assert [text(made, at) for at in lines["remark"][:2]] == ["anna: 80, ben: 80.5", "ratings 80, 80.5"]
    assert (lines["label"], lines["remark"][2]) == ([80.25] * 3, -1)
    assert [[made["groups"][at]["name"] for at in groups] for groups in lines["groups"]] == [["jazz"]] * 3


def test_ones_own_pairs_with_the_share_of_raters_who_agree(tmp_path):
    row = OWN | {
        "own_dataset": declared(pairs=True, task="preference"), "audio-path": "a.wav", "audio2": "b.wav",
        "preference": "model_a", "preference share": 2 / 3, "predicted_musicality": 1.0, "predicted_musicality_b": 0.0,
        "ratings": {"preference": {"anna": "model_a", "ben": "model_a", "cleo": "both"}},
    }  # fmt: skip
    with restored_registries():
        made = document(tmp_path, [row])
    (remark,) = made["lines"]["remark"]
    assert text(made, remark) == "67 % of its raters agree; anna: A, ben: A, cleo: both"
