"""The charts of a report."""

import re
from xml.etree import ElementTree

import numpy as np
import pytest
from scored_rows import HOSTILE, VALID, clips

from cmi_bench.config import MetricSettings
from cmi_bench.evaluation.calibration import MarginBin
from cmi_bench.evaluation.evaluate import evaluate
from cmi_bench.evaluation.proportions import Bounds
from cmi_bench.reporting.html.charts import (
    KeptCurve,
    ScoreSpread,
    Section,
    ValueRow,
    distribution_plot,
    interval_plot,
    kept_plot,
    label_limits,
    margin_plot,
    scatter_plot,
)

HEX = re.compile(r"#[0-9a-f]{6}")


def draw_all():
    bins = [MarginBin(9, 0.1, 0.5, 0.3, 0.6, 0.6, Bounds(0.3, 0.8)), MarginBin(9, 0.5, 2.0, 1.0, 0.9, 0.8, None)]
    rows = [ValueRow("<3 & $x$", 0.7, Bounds(0.6, 0.8), 12), ValueRow("=3", 1.0, None, 1)]
    scores = np.random.default_rng(0).normal(size=40)
    return [
        margin_plot(bins, 2.0, name="margins", alt="a"),
        margin_plot([MarginBin(3, 0.0, 0.0, 0.0, 0.5, 0.5, None)], None, name="ties", alt="b"),
        interval_plot([Section("level", rows)], metric="ACC", name="groups", alt="c", overall=rows[0], neutral=0.5),
        distribution_plot([ScoreSpread("PAM", scores)], axis="score", name="one", alt="d"),
        distribution_plot([ScoreSpread("a", scores, -scores), ScoreSpread("b", scores)], axis="s", name="t", alt="e"),
        distribution_plot([ScoreSpread("constant", np.zeros(3))], axis="s", name="u", alt="f"),
    ]  # fmt: skip


@pytest.fixture(scope="module")
def plots():
    return {plot.name: plot for plot in draw_all()}


def test_the_same_input_gives_the_same_bytes(plots):
    assert plots == {plot.name: plot for plot in draw_all()}


def test_a_plot_is_an_element_in_the_pages_colours_and_a_png(plots):
    for plot in plots.values():
        assert plot.svg.startswith("<svg ")
        assert not HEX.search(plot.svg)
        assert f'aria-label="{plot.alt}"' in plot.svg
        assert plot.png.startswith(b"\x89PNG")


def test_labels_stay_text(plots):
    assert "&lt;3 &amp; $x$</text>" in plots["groups"].svg


def test_a_label_may_hold_anything():
    rows = [ValueRow(HOSTILE, 0.7, None, 12)]
    plot = interval_plot([Section(HOSTILE, rows)], metric="ACC", name="hostile", alt=HOSTILE)
    assert ElementTree.fromstring(plot.svg).attrib["aria-label"].startswith("=1+cmd()")
    assert "|x\ufffd\ufffd\ufffd[2J" in plot.svg
    spread = ScoreSpread(HOSTILE, np.arange(3.0))
    ElementTree.fromstring(distribution_plot([spread], axis="s", name="hostile", alt="x").svg)


def test_a_script_that_the_font_lacks_is_no_warning(recwarn):
    plot = interval_plot([Section("\u5927\u97f3", [])], metric="ACC", name="script", alt="x")
    assert "\u5927\u97f3" in plot.svg
    assert not recwarn.list


def texts_of(plot):
    return [element.text for element in ElementTree.fromstring(plot.svg).iter() if element.tag.endswith("text")]


def test_the_value_over_all_rows_is_a_line_and_its_interval_a_band():
    section = [Section("level", [ValueRow("=3", 0.6, None, 3)])]
    marks = [
        interval_plot(section, metric="ACC", name="groups", alt="x", overall=overall).svg.count("var(--plot-second)")
        for overall in (None, ValueRow("", 0.7, None, 9), ValueRow("", 0.7, Bounds(0.6, 0.8), 9))
    ]
    assert marks[0] == 0
    assert marks[1] == 1
    assert marks[2] > 1


def test_each_value_has_its_label_and_its_number_of_rows():
    sections = [Section("level", [ValueRow("=3", 0.6, Bounds(0.5, 0.7), 1234), ValueRow(">3", 0.8, None, 7)])]
    texts = texts_of(interval_plot(sections, metric="ACC", name="groups", alt="x"))
    assert {"level", "=3", ">3", "1,234", "7", "ACC"} <= set(texts)


def test_chance_is_in_the_picture_of_a_model_that_is_always_right():
    bins = [MarginBin(9, 0.1, 0.5, 0.3, 1.0, 0.9, None), MarginBin(9, 0.5, 2.0, 1.0, 1.0, 1.0, None)]
    texts = texts_of(margin_plot(bins, 2.0, name="margins", alt="x"))
    assert {"0.4", "1.0", "observed", "Bradley-Terry, fitted"} <= set(texts)
    assert "Bradley-Terry, fitted" not in texts_of(margin_plot(bins, None, name="margins", alt="x"))


def test_each_dataset_has_a_panel_with_its_name_and_pairs_a_legend():
    scores = np.random.default_rng(0).normal(size=40)
    texts = texts_of(
        distribution_plot(
            [ScoreSpread("PAM", scores), ScoreSpread("MusicArena", scores, -scores)], axis="s", name="t", alt="e"
        )
    )
    assert [text for text in texts if text in ("PAM", "MusicArena")] == ["PAM", "MusicArena"]
    assert texts.count("preferred by people") == texts.count("the other clip") == 1


@pytest.mark.parametrize(
    ("labels", "scale", "limits"),
    [
        ([2.0, 3.0], (1.0, 5.0), (0.9, 5.1)),
        ([0.5, 5.2], (1.0, 5.0), (0.4, 5.3)),
        ([0.0, 100.0], None, (-2.5, 102.5)),
        ([0.2, 0.4], None, (0.195, 0.405)),
        ([3.0, 3.0], None, (2.9, 3.1)),
    ],
)
def test_an_axis_of_labels_is_as_wide_as_their_scale(labels, scale, limits):
    assert label_limits(np.array(labels), scale) == pytest.approx(limits)


def test_of_many_clips_some_are_drawn_and_the_line_is_that_of_all():
    rng = np.random.default_rng(0)
    label = rng.uniform(1, 5, 300)
    rows = clips(label, 2 * label + rng.normal(size=300), **VALID)
    (samples,) = evaluate(rows, MetricSettings(resamples=0)).samples
    whole, part, again, other = (
        scatter_plot(samples, most=most, seed=seed, name="n", alt="a").svg
        for most, seed in ((300, 0), (50, 0), (50, 0), (50, 1))
    )
    assert [svg.count("<use ") - whole.count("<use ") for svg in (part, other)] == [-250, -250]
    assert part == again != other


def test_a_long_curve_is_drawn_at_some_points_from_its_first_to_its_last():
    outcome = np.linspace(1.0, 0.5, 20_000)
    short, long = (
        kept_plot([KeptCurve("s", values)], label="l", name="n", alt="a") for values in (outcome[::10], outcome)
    )
    assert len(long.svg) < 1.1 * len(short.svg)
