import csv
import json

import pytest
from full_size import full_size_rows
from scored_rows import HOSTILE, arena

from cmi_bench.config import MetricSettings
from cmi_bench.evaluation.comparison import compare_runs
from cmi_bench.evaluation.metrics import MetricKey
from cmi_bench.evaluation.pairing import Run
from cmi_bench.reporting.comparison import comparison_view, write_comparison
from cmi_bench.reporting.sweep import significance_groups_of
from cmi_bench.utils.console import plain_text

RUNS = ("weak_model", "good", "a much longer name than anybody would like to have in a table (max_dur=30)")


@pytest.fixture(scope="module")
def comparison():
    rows = [full_size_rows(skill, seed) for skill, seed in ((0.2, 1), (1.5, 2), (1.5, 3))]
    silent = [
        {key: value for key, value in row.items() if not key.startswith("predicted_text")} for row in rows[2][::4]
    ]
    runs = [Run(RUNS[0], rows[0][::4], "a"), Run(RUNS[1], rows[1][::4], "b"), Run(RUNS[2], silent, "c")]
    return compare_runs(runs, MetricSettings(resamples=400), alpha=0.05)


@pytest.fixture(scope="module")
def folder(comparison, tmp_path_factory):
    folder = tmp_path_factory.mktemp("comparison")
    write_comparison(comparison, folder)
    return folder


def read(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_all_files_are_there(folder):
    names = {path.name for path in folder.iterdir()}
    assert names == {
        *("comparison.csv", "comparison_matrix.csv", "disagreements.csv", "comparison.md", "comparison.json")
    }


def test_each_difference_is_a_line(folder, comparison):
    lines = read(folder / "comparison.csv")
    assert len(lines) == sum(len(metric_comparison.differences) for metric_comparison in comparison.metric_comparisons)
    line = next(line for line in lines if (line["dataset"], line["run_b"]) == ("MusicArena", "good"))
    assert (line["run_a"], line["test"], line["significant"]) == ("weak_model", "sign flip", "True")
    assert float(line["difference"]) == pytest.approx(float(line["value_a"]) - float(line["value_b"]))
    assert float(line["ci_low"]) < float(line["difference"]) < float(line["ci_high"]) < 0
    assert int(line["n_a_better"]) - int(line["n_b_better"]) == round(float(line["difference"]) * int(line["n"]))
    assert float(line["p"]) <= float(line["p_holm"])
    assert float(line["p_mcnemar"]) == pytest.approx(float(line["p"]), rel=1)
    assert (line["alpha"], line["resamples"], line["cluster"], line["seed"]) == ("0.05", "400", "prompt", "0")


def test_the_matrix_is_antisymmetric_with_an_empty_diagonal(folder):
    cells = {
        (line["dataset"], line["task"], line["metric"], line["run"], other): line[f"minus {other}"]
        for line in read(folder / "comparison_matrix.csv")
        for other in RUNS
    }
    for (*place, run, other), text in cells.items():
        mirrored = cells.get((*place, other, run), "")
        assert (text == mirrored == "") or float(text) == -float(mirrored)
        assert run != other or text == ""


def test_disagreements_name_the_row_and_what_each_run_says(folder):
    lines = read(folder / "disagreements.csv")
    first = lines[0]
    assert first["dataset"] == "PAM"
    assert {f"predicted by {run}" for run in RUNS} < set(first)
    assert first["prompt"].startswith("pam ")
    assert first["audio-path"].endswith(".wav")
    pairs = [line for line in lines if line["dataset"] == "CMI-Pref" and line["task"] == "musicality"]
    assert len(pairs) == 50
    assert pairs[0]["answers_apart"] == "2.0"
    spreads = [float(line["standpoints_apart"]) for line in pairs]
    assert spreads == sorted(spreads, reverse=True)


def test_json_holds_it_all(folder, comparison):
    document = json.loads((folder / "comparison.json").read_text())
    assert document["runs"] == dict(zip(RUNS, "abc", strict=True))
    assert len(document["metric_comparisons"]) == len(comparison.metric_comparisons)
    assert document["settings"]["resamples"] == 400
    assert set(document["disagreements"][0]) == {
        *("dataset", "task", "row", "label", "answers", "spread", "predictions")
    }


def test_markdown_has_a_matrix_for_each_metric_and_whole_tables(folder, comparison):
    text = (folder / "comparison.md").read_text()
    assert text.count("\n## ") == len(comparison.metric_comparisons) + 1
    assert "weak\\_model" in text
    assert "**" in text
    for block in text.split("\n\n"):
        if block.startswith("| "):
            bars = {line.replace("\\|", "").count("|") for line in block.splitlines()}
            assert len(bars) == 1, block


def test_the_terminal_shows_one_table_a_task_within_80_columns(comparison):
    text = plain_text(comparison_view(comparison))
    assert max(map(len, text.splitlines())) <= 80
    assert text.count("95 % interval") == 6
    assert "MusicArena preference: ACC over 335 rows\n" in text
    assert "has no usable prediction here" in " ".join(text.split())
    assert "Runs that share a letter do not differ significantly (alpha = 0.05): where all" in " ".join(text.split())
    assert "…" not in text


def test_names_and_rows_may_hold_anything(tmp_path):
    rows = [[row | {"prompt": HOSTILE} for row in full_size_rows(1.0, seed)[::60]] for seed in (1, 2)]
    runs = [Run(f"{HOSTILE}{number}", of_run, HOSTILE) for number, of_run in enumerate(rows)]
    hostile = compare_runs(runs, MetricSettings(resamples=20), alpha=0.05)
    write_comparison(hostile, tmp_path)
    assert json.loads((tmp_path / "comparison.json").read_text())["runs"] == {run.label: HOSTILE for run in runs}
    (prompt,) = {line["prompt"] for line in read(tmp_path / "disagreements.csv")}
    assert prompt.startswith("'=1+cmd()")
    assert plain_text(comparison_view(hostile)).encode()


def compared(**rows_of):
    runs = [Run(name, rows, name) for name, rows in rows_of.items()]
    return compare_runs(runs, MetricSettings(resamples=200), alpha=0.05)


def answers(n, wrong):
    """Rows of n prompts, all of them labelled A; those of `wrong` are answered B."""
    return [arena("A", float(at not in wrong), float(at in wrong), prompt=f"prompt {at}") for at in range(n)]


def test_the_difference_from_the_best_has_its_own_sign_in_whatever_order_the_runs_are_given():
    weak, strong = answers(60, range(10, 40)), answers(60, range(3))
    lines = [
        next(line for line in plain_text(comparison_view(one)).splitlines() if line.startswith(" weak"))
        for one in (compared(weak=weak, strong=strong), compared(strong=strong, weak=weak))
    ]
    assert lines[0] == lines[1]
    value, low, high = (float(text.strip("[],")) for text in lines[0].split()[-4:-1])
    assert value == -0.45
    assert -0.7 < low < value < high < -0.2


def test_a_long_name_of_a_run_is_shown_whole_in_the_terminal():
    name = "a" + "x" * 120
    text = plain_text(comparison_view(compared(**{name: answers(8, [0]), "b": answers(8, [1, 2])})))
    table = text[text.index("minus the best") : text.index("Runs that share")]
    assert table.count("x") == 120
    assert max(map(len, text.splitlines())) <= 121  # where it is alone on its line


def shown_groups(comparison, folder):
    """The significance groups in the CSV file, in the terminal and of a sweep, which are the same."""
    write_comparison(comparison, folder)
    in_file = {line["run"]: line["significance_group"] for line in read(folder / "comparison_matrix.csv")}
    text = plain_text(comparison_view(comparison)).splitlines()
    rows = [line.split() for line in text if line.split()[:1] and line.split()[0] in in_file]
    groups = significance_groups_of(comparison)
    assert {row[0]: row[4] for row in rows} == in_file
    assert {run: groups.of(MetricKey("MusicArena", "preference", "ACC"), run) for run in in_file} == in_file
    return in_file


def test_significance_groups_follow_the_corrected_p(tmp_path):
    one, two, three = answers(40, [0]), answers(40, range(1, 9)), answers(40, range(9, 15))
    pair = compared(one=one, two=two)
    assert shown_groups(pair, tmp_path) == {"one": "a", "two": "b"}
    assert "**+.175** (.021)" in (tmp_path / "comparison.md").read_text()
    assert read(tmp_path / "comparison.csv")[0]["significant"] == "True"
    # Of the 2^9 choices of signs 2 give a greater difference, and 18 the same, of which a half counts.
    # The same two runs among three: the smallest p counts three times.
    assert shown_groups(compared(one=one, two=two, three=three), tmp_path) == dict.fromkeys(
        ("one", "two", "three"), "a"
    )
    assert "**" not in (tmp_path / "comparison.md").read_text()
    (line,) = [line for line in read(tmp_path / "comparison.csv") if {line["run_a"], line["run_b"]} == {"one", "two"}]
    assert (float(line["p"]), float(line["p_holm"])) == (pytest.approx(11 / 512), pytest.approx(33 / 512))
    assert line["significant"] == "False"


def test_disagreements_come_by_answers_and_then_by_standpoints(tmp_path):
    margins = {"first": (0.1, 5.0, 4.0, 1.0, 1.0, 1.0), "second": (-0.1, 0.0, -6.0, 1.0, 1.0, 1.0)}
    rows_of = {
        run: [arena("A", margin, 0.0, prompt=f"prompt {at}") for at, margin in enumerate(of_run)]
        for run, of_run in margins.items()
    }
    write_comparison(compared(**rows_of), tmp_path)
    assert [(line["row"], line["answers_apart"]) for line in read(tmp_path / "disagreements.csv")[:3]] == [
        ("3", "2.0"),
        ("1", "2.0"),
        ("2", "1.0"),
    ]
    table = (tmp_path / "comparison.md").read_text().rpartition("### MusicArena preference\n\n")[2].splitlines()
    assert [line.split(" | ")[0] for line in table[2:5]] == ["| 3", "| 1", "| 2"]
