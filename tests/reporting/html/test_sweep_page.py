"""The page of a sweep: what must be in it, how large it may get, and what it says of what it leaves out."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from outline import Outline
from report_rows import rows, write_audio
from scored_rows import HOSTILE
from sweep_report import sweep_source

from cmi_bench.evaluation.metrics import MetricKey
from cmi_bench.reporting.html.sweep_page import MAX_JOBS, chosen_jobs, sweep_html, write_sweep_page
from cmi_bench.reporting.sweep import significance_groups_of
from cmi_bench.reporting.sweep_jobs import SweepJob, Value


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The source of a page with everything on it, its text and its folder."""
    base = tmp_path_factory.mktemp("sweep")
    write_audio(base / "data", rows())
    (base / "sweep/0").mkdir(parents=True)
    (base / "sweep/0/report.html").touch()
    source = sweep_source(1000, 500, 4000, root=base / "data")
    return source, write_sweep_page(source, base / "sweep").read_text(), base / "sweep"


def test_it_is_one_accessible_file(whole):
    _, page, _ = whole
    outline = Outline(page)
    outline.check_accessible()
    assert [attributes["href"] for attributes in outline.all("link")] == ["data:,"]
    assert not [one for one in outline.all("script") if "src" in one]
    assert not re.search(r"@import|url\((?!#)", page)
    assert {one["src"][:8] for one in outline.all("audio")} == {"../data/"}


def test_jobs_stand_by_step_with_values_letters_and_links_to_their_pages(whole):
    source, page, _ = whole
    table = page.split("<caption>Jobs</caption>")[1].split("</table>")[0]
    lines = table.split("<tr>")[2:]
    assert [re.search(r"step_\d+", line)[0] for line in lines] == ["step_100", "step_500", "step_1000", "step_4000"]
    assert '<a href="0/report.html">step_1000</a>' in lines[2]
    assert "<a" not in lines[3]
    key = MetricKey("CMI-Pref", "musicality", "ACC")
    for line, job in zip(lines[1:], (source.jobs[1], source.jobs[0], source.jobs[2]), strict=True):
        letters = significance_groups_of(source.comparison).of(key, job.label)
        value = f"{job.values[key].value:.3f}"
        assert re.search(rf"{value}(</strong>)?" + (f' <span class="group">{letters}</span>' if letters else ""), line)
    assert "step_100: no &lt;weights&gt;" in page
    assert "rows that were &lt;made&gt; up" in page
    assert "4 jobs: 1 failed, 3 finished." in page


def test_a_plot_and_a_table_of_differences_for_each_task(whole):
    source, page, _ = whole
    tasks = {(one.dataset, one.task) for one in source.comparison.metric_comparisons}
    assert len(Outline(page).all("svg")) == len(tasks) == 4
    assert page.count("the best first, below each figure its 95 % interval</caption>") == 4
    one = next(one for one in source.comparison.metric_comparisons if one.metric == "ACC" and one.task == "musicality")
    behind = one.difference(one.standings[1].run, one.standings[0].run)
    assert f"{behind:.3f}".replace("-", "\N{MINUS SIGN}") in page


def test_the_rows_on_which_jobs_differ_most_say_what_each_job_answers(whole):
    source, page, _ = whole
    first = next(
        row for row in source.comparison.disagreements if (row.dataset, row.task) == ("CMI-Pref", "musicality")
    )
    card = page.split(f"<caption>CMI-Pref musicality, row {first.row} by job")[1].split("</article>")[0]
    for label, margin in first.predictions.items():
        side = "A" if margin > 0 else "B"
        assert re.search(rf'{label}</th>.*?{abs(margin):.4g}.*?class="text">(<strong>)?{side}<', card, re.DOTALL)
    people = {1.0: "clip A", -1.0: "clip B"}[first.label]
    assert f"People prefer {people}. Of 3 jobs" in page
    assert page.count('<article class="card">') == 20


def test_what_is_the_same_in_all_jobs_is_told_once(whole):
    assert "python run.py -m" in whole[1]
    assert "started (UTC)" not in whole[1]


@pytest.mark.slow
def test_the_same_sweep_gives_the_same_bytes(whole):
    assert sweep_html(whole[0], whole[2]) == whole[1]


KEY = MetricKey("PAM", "musicality", "SRCC")


def many(n: int) -> list[SweepJob]:
    return [
        SweepJob(
            number=at, label=f"step_{at}", step=at, status="finished", folder=Path(str(at)),
            values={KEY: Value(0.9 if at == 77 else at / (2 * n), 0.0, 1.0)},
        )
        for at in range(n)
    ]  # fmt: skip


def test_of_many_jobs_the_table_has_some_with_the_best_among_them_and_says_so(whole, tmp_path):
    jobs = many(1000)
    chosen = [job.number for job in chosen_jobs(jobs)]
    assert len(chosen) in (MAX_JOBS - 1, MAX_JOBS)
    assert {0, 77, 999} <= set(chosen)
    assert chosen == sorted(chosen)
    page = sweep_html(replace(whole[0], jobs=jobs, comparison=None, metadata=[]), tmp_path)
    assert f"Shown are {len(chosen)} of them" in page
    assert len(page) < 1_000_000
    assert chosen_jobs(jobs[:MAX_JOBS]) == jobs[:MAX_JOBS]


def test_without_a_comparison_and_without_jobs_that_finished(whole, tmp_path):
    source = replace(whole[0], jobs=many(3), comparison=None, notes=["The jobs score different rows."])
    page = sweep_html(source, tmp_path)
    assert "The jobs were not compared." in page
    assert "The jobs score different rows." in page
    page = sweep_html(replace(source, jobs=whole[0].jobs[-1:], metadata=[]), tmp_path)
    Outline(page).check_accessible()
    assert "No job has metrics." in page


def test_names_and_texts_are_text_whatever_they_hold(tmp_path):
    lines = [row | {"prompt": HOSTILE, "lyrics": HOSTILE} for row in rows(8) if "musicality" in row]
    source = sweep_source(500, 1000, lines=lines)
    page = sweep_html(replace(source, name=HOSTILE, notes=[HOSTILE], swept=[HOSTILE]), tmp_path)
    Outline(page)
    assert page.count("</script>") == 1
