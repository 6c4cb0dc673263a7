import math

import pytest
from full_size import full_size_rows
from registries import restored_registries

from cmi_bench.config import MetricSettings
from cmi_bench.data.datasets import PairTask
from cmi_bench.evaluation.evaluate import evaluate
from cmi_bench.evaluation.metrics import Metric, Statistic, register_metric
from cmi_bench.reporting.terminal import SongLine, songs_view, summary_text, summary_view
from cmi_bench.types import Score
from cmi_bench.utils.console import plain_text, print_view


def lines_of(text, *words):
    return [line for line in text.splitlines() if all(word in line for word in words)]


def test_it_fits_80_columns_without_a_word_cut_off(evaluation):
    text = summary_text(evaluation, "cmi_rm")
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text


def test_each_state_is_told(evaluation):
    text = summary_text(evaluation)
    assert "undef." in lines_of(text, "PAM", "musicality")[0]
    assert "1.0000" in lines_of(text, "PAM", "alignment")[0]
    assert "n/a" in lines_of(text, "CMI-Pref", "alignment")[0]
    line = "CMI-Pref musicality 3 ACC 0.5000 1"
    assert lines_of(text, "CMI-Pref", "musicality")[0].split() == line.split()


def test_notes_stand_below(evaluation):
    text = " ".join(summary_text(evaluation).split())
    assert "PAM musicality: SRCC, LCC, K-Tau undefined: constant prediction." in text
    assert "CMI-Pref alignment: not applicable: the model gives no alignment score." in text
    assert "CMI-Pref musicality: 1 failed, scored 0; 1 without a label, not evaluated; predicted ties: 1;" in text
    assert "1 row of unknown source 'else' left out." in text
    assert "Groups by clip duration left out: no durations are known." in text


def test_failures_have_a_column_only_where_there_are_any(mixed, evaluation):
    assert lines_of(summary_text(evaluation), "dataset", "failed")
    assert "failed" not in summary_text(evaluate(mixed[:3]))


def test_intervals_are_told_with_how_they_were_made(mixed):
    rows = [row | {"prompt": f"p{i // 2}"} for i, row in enumerate(mixed[3:4] * 40)] + mixed[:3]
    text = " ".join(summary_text(evaluate(rows, MetricSettings(confidence=0.9))).split())
    assert "90 % interval" in text
    assert "Intervals over prompts (CMI-Pref 20) speak of other prompts, the same systems." in text
    assert "Methods of intervals: Wilson t for ACC." in text
    assert "PAM alignment: no interval of SRCC, LCC, K-Tau: too few rows to tell (3; 5 are needed)." in text
    text = " ".join(summary_text(evaluate(rows, MetricSettings(cluster="none"))).split())
    assert "Intervals over rows (CMI-Pref 40) speak of other rows like these." in text


def test_an_interval_without_width_is_named(mixed):
    with restored_registries():
        register_metric(Metric("one", PairTask, lambda x, y: Statistic(1.0)))
        text = " ".join(summary_text(evaluate([mixed[3]] * 20, MetricSettings(resamples=20))).split())
    assert "one is the same in every resample" in text


def test_without_intervals_there_is_no_column_for_them(mixed):
    assert "interval" not in summary_text(evaluate(mixed, MetricSettings(resamples=0))).lower()


def test_the_paper_protocol_is_named(mixed):
    assert "Protocol paper" in summary_text(evaluate(mixed, MetricSettings(protocol="paper")))


def test_a_pipe_gets_plain_text(evaluation, capsys):
    print_view(summary_view(evaluation, "cmi_rm"))
    print_view("Results: a [red]folder[/red]")
    printed = capsys.readouterr().out
    assert printed == summary_text(evaluation, "cmi_rm") + "Results: a [red]folder[/red]\n"
    assert "\x1b" not in printed
    assert not any(line.endswith(" ") for line in printed.splitlines())


@pytest.mark.parametrize("title", ["", "run [red]of[/red] brackets"])
def test_titles_are_no_markup_and_an_empty_evaluation_is_a_sentence(nothing, title):
    text = summary_text(nothing, title)
    assert title in text
    assert "No row of split 'test' to evaluate." in text


def test_means_of_systems_say_how_many_systems_and_two_tasks_share_a_remark():
    rows = full_size_rows()[500:1000:2]
    text = summary_text(evaluate(rows))
    n = {tuple(line.split()[-3:-1]): line.split()[0] for line in text.splitlines() if "System" in line}
    assert n["System", "SRCC"] == "5"
    assert "5" not in {count for name, count in n.items() if name != ("System", "SRCC")}
    assert text.count("PAM musicality, alignment: no interval of System SRCC, System LCC, System") == 1


def test_songs_are_a_table_with_ranks_where_they_are_ranked():
    lines = [
        SongLine("best.mp3", Score(alignment=0.5, musicality=0.25), rank=1, mean=0.375),
        SongLine("\x1b[2Jbad.mp3", Score.failed("not audio")),
    ]
    text = plain_text(songs_view(lines, "two songs", "a note"))
    assert lines_of(text, "rank", "song", "mean", "musicality", "alignment")
    assert lines_of(text, "best.mp3")[0].split() == ["1", "best.mp3", "0.3750", "0.2500", "0.5000"]
    assert lines_of(text, "bad.mp3", "failed")[0].split()[-3:] == ["failed", "failed", "failed"]
    assert text.splitlines()[-2:] == ["a note", "\N{REPLACEMENT CHARACTER}[2Jbad.mp3: not audio"]
    unranked = plain_text(songs_view([SongLine("a.mp3", Score(alignment=math.nan, musicality=0.25))]))
    assert lines_of(unranked, "a.mp3")[0].split() == ["a.mp3", "0.2500", "n/a"]
    assert "rank" not in unranked


def test_scores_of_an_ensemble_have_their_spread_beside_them():
    score = Score(math.nan, 0.25, members=((math.nan, 0.0), (math.nan, 0.5)))
    text = plain_text(songs_view([SongLine("a.mp3", score), SongLine("b.mp3", Score.failed("no audio"))]))
    assert lines_of(text, "a.mp3")[0].split() == ["a.mp3", "0.2500", "±0.3536", "n/a"]
    assert lines_of(text, "±", "2 members")
    assert lines_of(text, "b.mp3")[0].split() == ["b.mp3", "failed", "failed"]
