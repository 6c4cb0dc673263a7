import pytest
from scored_rows import arena, cmi

from cmi_bench.config import MetricSettings
from cmi_bench.data import fields
from cmi_bench.data.audio_info import DurationTable
from cmi_bench.data.datasets import confidence_level
from cmi_bench.data.declarations import Declaration
from cmi_bench.evaluation import groups as module
from cmi_bench.evaluation.evaluate import evaluate
from cmi_bench.evaluation.groups import duration_bin

EDGES = (10.0, 30.0, 60.0, 120.0, 500.0)
NO_GROUPS = {f"by_{name}": False for name in ("month", "condition", "reference", "lyrics", "confidence", "duration")}
WIN = (1.0, 0.0, 1.0, 0.0)


@pytest.mark.parametrize(
    ("seconds", "label"),
    [
        (9.99, None),
        (10.0, "[10,30)"),
        (29.99, "[10,30)"),
        (30.0, "[30,60)"),
        (120.0, "[120,500]"),
        (500.0, "[120,500]"),
        (500.01, None),
        (None, None),
    ],
)
def test_a_bin_holds_its_lower_edge_and_the_last_both(seconds, label):
    assert duration_bin(seconds, EDGES) == label


@pytest.mark.parametrize(
    ("value", "level"),
    [("2.5", "<3"), ("3", "=3"), (3.0, "=3"), ("3.5", ">3"), ("", None), (None, None), ("sure", None), ("nan", None)],
)
def test_confidence_is_below_at_or_above_three(value, level):
    assert confidence_level(value) == level


def in_detail(rows, durations=None, **switches):
    settings = MetricSettings(**NO_GROUPS | switches)
    return [
        (record.task, record.group_key, record.group_value, record.ref_category, record.n, record.metrics.get("ACC"))
        for record in evaluate(rows, settings, durations=durations).detail
    ]


def test_months_come_alphabetically():
    later = {"audio-path": "MusicArena_data/audio_files/02-2025SEP/a.mp3"}
    assert in_detail([arena("A", 0, 1, **later), arena("A", 1, 0), arena("A", 1, 0)], by_month=True) == [
        ("preference", "month", "01-2025JULAUG", None, 2, 1.0),
        ("preference", "month", "02-2025SEP", None, 1, 0.0),
    ]


def test_conditions_that_occur_each_with_both_tasks():
    rows = [cmi("model_a", "model_b", WIN), cmi("model_a", "model_b", WIN, **{"lyrics": "la", "ref-audio-path": "r"})]
    assert in_detail(rows, by_condition=True) == [
        ("alignment", "modality", "text", None, 1, 0.0),
        ("musicality", "modality", "text", None, 1, 1.0),
        ("alignment", "modality", "text+lyrics+ref", None, 1, 0.0),
        ("musicality", "modality", "text+lyrics+ref", None, 1, 1.0),
    ]


def test_reference_and_lyrics_are_told_even_where_there_are_no_rows():
    rows = [cmi("model_a", "model_a", WIN, lyrics="la")]
    assert in_detail(rows, by_reference=True) == [
        ("alignment", "ref_subset", "no_ref", None, 1, 1.0),
        ("musicality", "ref_subset", "no_ref", None, 1, 1.0),
        ("alignment", "ref_subset", "ref", None, 0, None),
        ("musicality", "ref_subset", "ref", None, 0, None),
    ]
    assert [line[2:5:2] for line in in_detail(rows, by_lyrics=True)] == [
        ("instru", 0), ("instru", 0), ("vocal", 1), ("vocal", 1),
    ]  # fmt: skip


def test_a_modality_of_its_own_has_a_group_but_neither_reference_nor_lyrics():
    rows = [cmi("model_a", "model_a", WIN, modality="video")]
    assert [line[2] for line in in_detail(rows, by_condition=True)] == ["video", "video"]
    assert all(line[4] == 0 for line in in_detail(rows, by_reference=True, by_lyrics=True))


def test_confidence_is_each_tasks_own_and_crossed_with_the_reference():
    fields = ("confidence_preference-musicality", "confidence_preference-alignment")
    rows = [
        cmi("model_a", "model_a", WIN, **dict(zip(fields, ("2", "4"), strict=True))),
        cmi("model_b", "model_a", WIN, **dict(zip(fields, ("2.5", ""), strict=True)), **{"ref-audio-path": "r"}),
    ]
    assert in_detail(rows, by_confidence=True) == [
        ("alignment", "confidence", ">3", "no_ref", 1, 1.0),
        ("alignment", "confidence", ">3", "all", 1, 1.0),
        ("musicality", "confidence", "<3", "no_ref", 1, 1.0),
        ("musicality", "confidence", "<3", "ref", 1, 0.0),
        ("musicality", "confidence", "<3", "all", 2, 0.5),
    ]


def test_rows_without_confidence_make_no_group():
    assert in_detail([cmi("model_a", "model_a", WIN)], by_confidence=True) == []


def test_duration_bins_hold_all_datasets_and_the_rest_is_noted():
    rows = [arena("A", 1, 0, **{"audio-path": name, "audio2": None}) for name in ("short", "mid", "mid", "unknown")]
    table = DurationTable({"short": 5.0, "mid": 20.0})
    assert in_detail(rows, table, by_duration=True) == [("preference", "duration_bin", "[10,30)", None, 2, 1.0)]
    notes = evaluate(rows, MetricSettings(by_duration=True), durations=table).notes
    assert [note for note in notes if "duration" in note] == [
        "1 row of unknown duration: in no duration group.",
        "1 row outside 10 to 500 s: in no duration group.",
    ]


@pytest.mark.parametrize("durations", [None, DurationTable({})])
def test_without_any_duration_the_grouping_is_left_out_and_said_once(durations, caplog):
    caplog.set_level("DEBUG", logger="cmi_bench")
    evaluation = evaluate([arena("A", 1, 0)] * 3, MetricSettings(by_duration=True), durations=durations)
    assert all(record.group_key != "duration_bin" for record in evaluation.detail)
    assert [note for note in evaluation.notes if "duration" in note] == caplog.messages
    assert len(caplog.messages) == 1


def test_summary_only_means_no_groups():
    rows = [arena("A", 1, 0), cmi("model_a", "model_a", WIN)]
    assert in_detail(rows) == []


def test_single_clips_are_grouped_by_their_rank_correlation_alone():
    from scored_rows import clips

    table = DurationTable({"0.wav": 20.0})
    (record,) = evaluate(clips([1, 2, 3], [1, 2, 3]), MetricSettings(by_duration=True), durations=table).detail
    assert record.metrics == {"SRCC": pytest.approx(1.0)}


def test_of_very_many_groups_those_with_the_most_rows_are_made(monkeypatch):
    monkeypatch.setattr(module, "MOST_GROUPS", 2)
    mine = Declaration("grouped", False, ("musicality",), group_by=(("genre", "genre"),))
    rows = [
        {"source": "own:grouped", fields.DECLARED: mine.to_json(), "musicality": at, "genre": genre,
         "predicted_musicality": at, "inference_valid_a": True}
        for at, genre in enumerate("zabzbbz")
    ]  # fmt: skip
    evaluation = evaluate(rows, MetricSettings(resamples=0))
    assert [(one.group_value, one.n) for one in evaluation.detail] == [("b", 3), ("z", 3)]
    assert evaluation.notes == ["Groups by genre: the 2 with the most rows, of 3."]
