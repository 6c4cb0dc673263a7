"""The reported rows as in the paper's tables, with marks and footnotes, and own rows beside them."""

import csv
import html.parser
import re

import pytest
from full_size import full_size_rows
from scored_rows import HOSTILE

from cmi_bench.config import MetricSettings
from cmi_bench.evaluation.pairing import Run
from cmi_bench.reporting.leaderboard.build import build_leaderboard
from cmi_bench.reporting.leaderboard.render import leaderboard_view, write_leaderboard
from cmi_bench.utils.console import plain_text

SETTINGS = MetricSettings(resamples=300)
SLIP = "The paper's Table 2 says 5.99, its Table 24 35.99."
FEW = "Over 72 rows, not the 500 of the reported figures: not ranked."


def board_of(settings=SETTINGS, intersect=False, **rows_of):
    runs = [Run(label, rows, label) for label, rows in rows_of.items()]
    return build_leaderboard(runs, settings, alpha=0.05, intersect=intersect)


@pytest.fixture(scope="module")
def nothing(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reported")
    write_leaderboard(board_of(), folder)
    return folder


@pytest.fixture(scope="module")
def board():
    return board_of(my_50=full_size_rows(3.0, 1), other=full_size_rows(3.0, 2), weak=full_size_rows(0.1, 3))


@pytest.fixture(scope="module")
def own(board, tmp_path_factory):
    folder = tmp_path_factory.mktemp("own")
    write_leaderboard(board, folder)
    return folder


def groups_in(board):
    cells = (cell for table in board.tables for row in table.rows for cell in row.cells.values())
    return {cell.significance_group for cell in cells} - {""}


def lines(folder, **wanted):
    with (folder / "leaderboard.csv").open(newline="") as file:
        found = list(csv.DictReader(file))
    return [line for line in found if all(line[name] == value for name, value in wanted.items())]


def test_every_reported_figure_is_there_with_its_digits(nothing):
    assert len(lines(nothing, kind="reported", table="musicality")) == 16 * 8
    assert len({line["model"] for line in lines(nothing, kind="reported", table="alignment")}) == 14
    (figure,) = lines(nothing, model="CMI-RM f.t. CMI+MusicEval", column="MusicEval_SRCC")
    assert (figure["text"], float(figure["value"]), figure["place"]) == ("0.8266", 0.8266, "best")
    (negative,) = lines(nothing, model="Qwen2-audio", table="alignment", column="PAM_LCC")
    assert (negative["text"], float(negative["value"])) == ("-0.024", -0.024)
    (percent,) = lines(nothing, model="SongEval-RM", column="MusicArena_ACC_percent")
    assert (percent["text"], float(percent["value"]), percent["place"]) == ("73.88", pytest.approx(0.7388), "best")
    assert not lines(nothing, model="CLAP (default)", column="CMIPref_A_percent")


def test_each_column_has_one_best_and_a_second_below_it(nothing):
    for table, columns in (("musicality", 8), ("alignment", 9)):
        best, second = (lines(nothing, table=table, place=place) for place in ("best", "second"))
        assert len({line["column"] for line in best}) == len({line["column"] for line in second}) == columns
        highest = {line["column"]: float(line["value"]) for line in best}
        assert all(float(line["value"]) < highest[line["column"]] for line in second)
        assert all(
            float(line["value"]) <= highest[line["column"]] for line in lines(nothing, table=table, kind="reported")
        )


def test_slips_stay_footnotes_and_the_human_ceiling_a_line(nothing):
    (slip,) = lines(nothing, model="Qwen2-audio", column="MusicArena_ACC_percent")
    assert slip["notes"] == SLIP
    assert [line["text"] for line in lines(nothing, kind="human")] == ["75.20", "75.00"]
    for name in ("leaderboard.md", "leaderboard.tex", "leaderboard.html"):
        text = (nothing / name).read_text().replace("&#39;", "'")
        assert SLIP in text
        assert "CMI-RM (Ours)" in text
        assert "73.43 and 73.21" in text
        assert "75.20" in text
        assert "75.00" in text
        assert "2603.00610" in text


def test_own_rows_have_intervals_letters_and_places(own):
    line = {line["model"]: line for line in lines(own, kind="own", column="MusicEval_SRCC")}
    assert line["my_50"]["n"] == "413"
    assert float(line["my_50"]["ci_low"]) < float(line["my_50"]["value"]) < float(line["my_50"]["ci_high"])
    assert (
        line["my_50"]["significance_group"],
        line["other"]["significance_group"],
        line["weak"]["significance_group"],
    ) == ("a", "a", "b")
    assert {line["my_50"]["place"], line["other"]["place"]} == {"best", "second"}
    condition = lines(own, kind="own", model="weak", column="CMIPref_without_audio_percent")
    assert (condition[0]["n"], condition[0]["group"]) == ("250", "no_ref")
    assert len(lines(own, kind="own", model="weak")) == 17


def test_own_figures_take_the_forms_of_the_paper(own):
    shown = {line["column"]: line["text"] for line in lines(own, kind="own", model="weak")}
    for column, text in shown.items():
        assert re.fullmatch(r"\d{1,3}\.\d\d" if column.endswith("percent") else r"-?\d\.\d{4}", text), column


def test_figures_over_other_rows_are_shown_but_not_ranked(tmp_path):
    write_leaderboard(board_of(best=full_size_rows(9.0)[:72]), tmp_path)
    (few,) = lines(tmp_path, kind="own", column="CMIPref_ACC_percent")
    assert (few["comparable"], few["place"]) == ("False", "")
    assert FEW in few["notes"]
    assert FEW in (tmp_path / "leaderboard.md").read_text()
    assert 'class=" unranked"' in (tmp_path / "leaderboard.html").read_text()


SYNTHETIC = "data=mini is synthetic."


@pytest.fixture(scope="module")
def mixed():
    """A synthetic run, though it has as many rows as the benchmark, beside one of the benchmark."""
    rows = full_size_rows(9.0)
    runs = [
        Run("mine", full_size_rows(0.5), "a"),
        Run("mini", rows, "b", SYNTHETIC),
        Run("mini 2", rows, "c", SYNTHETIC),
    ]
    return build_leaderboard(runs, MetricSettings(resamples=0), alpha=0.05)


def test_synthetic_figures_take_no_place_beside_the_reported_ones(mixed, tmp_path):
    write_leaderboard(mixed, tmp_path)
    for line in lines(tmp_path, kind="own", model="mini"):
        assert (line["comparable"], line["place"]) == ("False", "")
        assert line["notes"].endswith(f"Over other rows than the reported figures: not ranked. {SYNTHETIC}")
    assert all(SYNTHETIC not in line["notes"] for line in lines(tmp_path, kind="own", model="mine"))
    assert {line["comparable"] for line in lines(tmp_path, kind="own", model="mine")} == {"True"}
    for table in ("musicality", "alignment"):
        assert (
            len({line["column"] for line in lines(tmp_path, table=table, place="best")}) == {"m": 8, "a": 9}[table[0]]
        )


def test_every_format_marks_which_figures_are_synthetic(mixed, tmp_path):
    write_leaderboard(mixed, tmp_path)
    markdown = (tmp_path / "leaderboard.md").read_text()
    assert re.search(r"\| ▸ mini<sup>\d+</sup> \|", markdown)
    assert re.search(r"\| ▸ mine \|", markdown)
    assert re.search(r"^mini\$\^\{\d+\}\$ &", (tmp_path / "leaderboard.tex").read_text(), re.MULTILINE)
    page = (tmp_path / "leaderboard.html").read_text()
    assert re.search(r'<th scope="row">mini\s*<sup><a href="#musicality-\d+"', page)
    for name in ("leaderboard.md", "leaderboard.tex", "leaderboard.html"):
        text = (tmp_path / name).read_text()
        assert text.count(SYNTHETIC) >= 3  # a footnote of each table, and a note on the runs
        assert f"mini, mini 2: {SYNTHETIC}" in text
    shown = plain_text(leaderboard_view(mixed))
    assert "▸ mini*" in shown
    assert "▸ mine " in shown
    assert f"mini, mini 2: {SYNTHETIC}" in shown


def test_own_runs_over_different_rows_get_no_letters_unless_told_to():
    rows = {"a": full_size_rows(1.0)[:60], "b": full_size_rows(1.0, 1)[10:60]}
    apart = board_of(**rows)
    assert any(note.startswith("No significance groups: own runs are over different rows") for note in apart.notes)
    assert not groups_in(apart)
    together = board_of(intersect=True, **rows)
    assert "The groups are over the 50 rows in common." in together.notes
    assert groups_in(together)


def test_a_constant_model_is_undefined_and_not_ranked():
    constant = [row | {name: 0.5 for name in row if name.startswith("predicted")} for row in full_size_rows()]
    (musicality, _) = board_of(constant=constant).tables
    cell = musicality.rows[-1].cells["PAM_SRCC"]
    assert (cell.text, cell.value, cell.rank) == ("undef.", None, None)
    assert any("constant prediction" in note for note in cell.notes)
    assert musicality.rows[-1].cells["CMIPref_ACC_percent"].text == "50.00"


def test_without_intervals_there_are_figures():
    board = board_of(MetricSettings(resamples=0), a=full_size_rows()[:40], b=full_size_rows(seed=1)[:40])
    cell = board.tables[0].rows[-1].cells["CMIPref_ACC_percent"]
    assert (cell.interval, cell.significance_group) == (None, "")
    assert cell.value is not None


def test_markdown_is_whole_and_marks_best_and_second(own):
    text = (own / "leaderboard.md").read_text()
    tables = [block.splitlines() for block in text.split("\n\n") if block.startswith("| model")]
    assert [len(table) for table in tables] == [2 + 16 + 3, 2 + 14 + 3]
    assert all(len({line.count("|") for line in table}) == 1 for table in tables)
    assert "| **73.88** |" in text
    assert "▸ my\\_50" in text
    assert re.search(r"\*\*0\.\d{4}\*\* a<br>\[\.\d{3}, \.\d{3}\]", text)


def test_latex_rows_have_as_many_cells_as_columns(own):
    text = (own / "leaderboard.tex").read_text()
    assert r"my\_50" in text
    assert r"\textbf{73.88}" in text
    tables = re.findall(r"\\begin\{tabular\}\{(l+r+)\}(.*?)\\end\{tabular\}", text, re.DOTALL)
    assert [len(form) for form, _ in tables] == [9, 10]
    for form, body in tables:
        for line in re.findall(r"^.*\\\\$", body, re.MULTILINE):
            spans = sum(int(span) - 1 for span in re.findall(r"\\multicolumn\{(\d+)\}", line))
            assert line.replace(r"\&", "").count("&") + 1 + spans == len(form), line
    assert text.count("{") == text.count("}")


class Page(html.parser.HTMLParser):
    """Checks that tags close, and collects ids, links and loads."""

    def __init__(self):
        super().__init__()
        self.open, self.ids, self.links, self.loads = [], [], [], []

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.ids += [found["id"]] if "id" in found else []
        self.links += [found["href"]] if tag == "a" else []
        self.loads += [found[name] for name in ("src", "href") if name in found and tag != "a"]
        if tag not in {"meta", "link", "br"}:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_is_whole_and_needs_nothing_else(own):
    text = (own / "leaderboard.html").read_text()
    page = Page()
    page.feed(text)
    assert page.open == []
    assert set(page.links) <= {f"#{name}" for name in page.ids}
    assert page.loads == ["data:,"]
    assert "url(" not in text
    assert len(page.ids) == len(set(page.ids))
    assert "light-dark(" in text
    assert text.count('<tr class="own">') == 6


def test_labels_are_escaped_everywhere(tmp_path):
    write_leaderboard(board_of(**{"<b>&_x|": full_size_rows()[:30]}), tmp_path)
    assert "<b>&_x|" not in (tmp_path / "leaderboard.html").read_text()
    assert r"\textless{}b\textgreater{}\&\_x|" in (tmp_path / "leaderboard.tex").read_text()
    assert r"\<b\>&\_x\|" in (tmp_path / "leaderboard.md").read_text()


def test_the_terminal_shows_both_tables_within_80_columns(board):
    text = plain_text(leaderboard_view(board))
    assert max(map(len, text.splitlines())) <= 80
    assert "73.9¹" in text
    assert "Human ceiling on CMI-Pref: 75.20" in text
    assert text.count("▸ my_50") == 2


def test_a_label_may_hold_anything(tmp_path):
    board = board_of(**{HOSTILE: full_size_rows()[:30]})
    write_leaderboard(board, tmp_path)
    plain_text(leaderboard_view(board)).encode()
    assert lines(tmp_path, kind="own")[0]["model"].startswith("'=1+cmd()")
    page = Page()
    page.feed((tmp_path / "leaderboard.html").read_text())
    assert page.open == []
    for name in ("leaderboard.html", "leaderboard.tex", "leaderboard.md"):
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]", (tmp_path / name).read_text())
