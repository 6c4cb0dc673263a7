import pytest
from registries import restored_registries

from cmi_bench.config import MetricSettings
from cmi_bench.data.datasets import PairTask
from cmi_bench.evaluation.evaluate import evaluate
from cmi_bench.evaluation.metrics import Metric, Statistic, register_metric
from cmi_bench.reporting.terminal import summary_text, summary_view
from cmi_bench.utils.console import print_view


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
    assert "Intervals over prompts (CMI-Pref) speak of other prompts, the same systems." in text
    assert "PAM alignment: no interval of SRCC, LCC, K-Tau: too few rows to tell: 3, not 5." in text
    text = " ".join(summary_text(evaluate(rows, MetricSettings(cluster="none"))).split())
    assert "Intervals over rows (CMI-Pref) speak of other rows like these." in text


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
