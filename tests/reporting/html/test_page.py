"""The page as a file: what must be in it, and what must not, whatever the rows."""

import re
from xml.etree import ElementTree

import pytest
from outline import Outline
from report_rows import VALID, rows, source_of, write_audio
from scored_rows import HOSTILE

from cmi_bench.reporting.html.format import ReportSource
from cmi_bench.reporting.html.page import write_page


def page_of(source, folder):
    return write_page(source, folder)[0].read_text()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A page with everything on it, its folder, and what was written."""
    base = tmp_path_factory.mktemp("report")
    lines = rows()
    write_audio(base / "data", lines)
    (base / "data/cmi/3b.wav").unlink()
    files = write_page(source_of(lines, root=base / "data"), base / "run")
    return files[0].read_text(), base, files


def test_page_and_plots_are_written_and_named(whole):
    _, base, files = whole
    assert files == [base / "run/report.html", base / "run/plots"]
    assert {path.name for path in files[1].iterdir()} == {
        "scores-pam-musicality.png",
        "scores-pam-alignment.png",
        "margins-cmi-pref-musicality.png",
        "margins-cmi-pref-alignment.png",
        "groups-cmi-pref-musicality.png",
        "groups-cmi-pref-alignment.png",
        "distribution-musicality.png",
        "distribution-alignment.png",
    }


def test_it_needs_nothing_but_itself_and_audio_files_beside_it(whole):
    outline = Outline(whole[0])
    assert not [name for name in ("img", "iframe", "object", "embed") if outline.all(name)]
    assert [attributes["href"] for attributes in outline.all("link")] == ["data:,"]
    assert not [one for one in outline.all("script") if "src" in one]
    assert not re.search(r"@import|url\((?!#)", whole[0])
    addresses = {
        value for _, attributes in outline.elements for value in attributes.values() if value and "//" in value
    }
    assert addresses == {"http://www.w3.org/2000/svg"}  # a name, not a place


def test_it_is_sound_and_can_be_read_by_those_who_do_not_see(whole):
    outline = Outline(whole[0])
    outline.check_accessible()
    assert len(outline.all("svg")) == 8


def test_what_rows_say_is_text_never_markup(whole):
    page = whole[0]
    assert "&lt;b&gt;prompt &amp; " in page
    assert "<b>" not in page
    assert "my &lt;model&gt;" in page
    assert "la la\n&lt;/script&gt;" in page
    assert page.count("</script>") == 1


def test_numbers_with_intervals_margins_and_mistakes_are_there(whole):
    page = whole[0]
    source = source_of(rows())
    pam = source.evaluation.summary[0]
    assert f"{pam.metrics['SRCC']:.3f}" in page
    assert re.search(r"β = [\d.]+( \[−?[\d.]+, [\d.]+\])? per\s+point of score; ECE 0\.\d{3} over 2 bins; chance", page)
    assert "<h3>CMI-Pref, musicality</h3>" in page
    assert re.search(r'<p class="caption">All rows: ACC 0\.\d{3}\.</p>', page)
    assert "<li>Intervals over prompts (PAM 8) speak of other prompts, the same systems.</li>" in page
    assert "<li>Methods of intervals: jackknife t for SRCC, LCC, K-Tau.</li>" in page
    assert '<span class="interval reason">too few prompts to tell (8; 10 are needed)</span>' in page
    assert "annotator&#39;s confidence was" in page or "annotator's confidence was" in page
    assert "preferred by the model" in page
    assert "mean opinion score" in page
    assert "Not part of this run" in page  # durations
    assert "There is no metadata.json beside these results." in page


def test_players_are_relative_and_a_missing_file_is_named(whole):
    outline = Outline(whole[0])
    links = {one["src"] for one in outline.all("audio")}
    assert links
    assert all(link.startswith("../data/") for link in links)
    assert any("%23a.wav" in link for link in links)
    assert "No player: cmi/3b.wav not found under data.root." in whole[0] or "cmi/3b.wav" not in whole[0]


def test_without_audio_every_clip_says_so(tmp_path):
    page = page_of(source_of([PAIR | {"predicted_musicality": -1.0}], root=tmp_path / "nowhere"), tmp_path)
    assert not Outline(page).all("audio")
    assert page.count("not found under data.root") == 2


def test_the_same_evaluation_gives_the_same_bytes(whole, tmp_path):
    source = source_of(rows(), root=whole[1] / "data")
    (whole[1] / "again").mkdir()
    files = write_page(source, whole[1] / "again")
    assert files[0].read_text() == whole[0]
    for path in files[1].iterdir():
        assert path.read_bytes() == (whole[2][1] / path.name).read_bytes()


def test_what_the_metadata_say_is_shown(tmp_path):
    base = source_of([PAIR])
    metadata = {
        "argv": ["run.py", "model=a b"],
        "started": "2026-01-02T03:04:05+00:00",
        "config": {"data": {"name": "mini"}, "subset": {"name": "pam"}, "max_dur": 30.0},
        "git": {"commit": "abc123", "dirty": False},
        "versions": {"scipy": "1.2.3"},
        "model": "not what it should be",
    }
    page = page_of(ReportSource(base.evaluation, base.results, "x", metadata=metadata), tmp_path)
    for text in ("on mini/pam, 2026-01-02", "python run.py &#39;model=a b&#39;", "abc123", "1.2.3", "30.0"):
        assert text in page


FAILED = {"inference_valid_a": False, "predicted_musicality": None, "inference_error": "boom"}
PAM = {"source": "PAM (music)", "audio-path": "a.wav", "musicality": 3.0, "text-music alignment": 3.0} | VALID
PAIR = VALID | {
    "source": "Music Arena ['01-2025JULAUG']", "audio-path": "MusicArena_data/audio_files/01-2025JULAUG/a.mp3",
    "audio2": "b.mp3", "inference_valid_b": True, "preference": "A",
    "predicted_musicality": 1.0, "predicted_musicality_b": 0.0,
}  # fmt: skip


@pytest.mark.parametrize(
    "lines",
    [
        [],
        [PAM],
        [PAM | {"predicted_musicality": 0.1}] * 2,
        [PAIR],
        [PAIR, PAIR | {"predicted_musicality": 0.0}],
        [PAIR | {"predicted_musicality": 0.0}] * 5,
        [PAIR | FAILED] * 4,
        [PAM | FAILED] * 4,
        [PAIR | {"preference": "TIE"}] * 3,
        [PAIR | {"preference": ""}] * 3,
        [{"source": "else", "split": "test"}],
    ],
    ids=[
        *("no row", "one unjudged clip", "two equal clips", "one pair", "a hit and a tie", "all ties"),
        *("pairs failed", "clips failed", "label ties", "no labels", "unknown source"),
    ],
)
def test_there_is_a_page_for_whatever_there_is(lines, tmp_path):
    page = page_of(source_of(lines, by_duration=True), tmp_path)
    Outline(page)
    assert "nan" not in re.sub(r"<svg.*?</svg>", "", page, flags=re.DOTALL).lower().split()


def test_infinite_numbers_of_the_paper_protocol_are_left_out_of_the_plots(tmp_path):
    lines = [
        PAM | {"musicality": label, "predicted_musicality": score} for label, score in ((1, 0.1), (7, 0.3), (3, "inf"))
    ]
    Outline(page_of(source_of([*lines, PAIR | {"predicted_musicality": "-inf"}], protocol="paper"), tmp_path))
    assert (tmp_path / "plots/scores-pam-musicality.png").is_file()


def test_without_intervals_the_page_says_so(tmp_path):
    page = page_of(source_of([PAIR] * 3, resamples=0), tmp_path)
    assert "no intervals (switched off)" in page


@pytest.mark.slow
def test_a_page_is_valid_whatever_the_rows_and_the_metadata_hold(tmp_path):
    texts = ("prompt", "lyrics", "audio-path", "audio2", "ref-audio-path", "model_a")
    lines = [row | {name: f"{HOSTILE} {at}" for name in texts if row.get(name)} for at, row in enumerate(rows(8))]
    lines += [PAIR | {"source": f"Music Arena ['{HOSTILE}']", "prompt": HOSTILE}, {"source": HOSTILE, "split": "test"}]
    base = source_of(lines)
    metadata = {
        "argv": [HOSTILE],
        "model": {"name": HOSTILE},
        "config": {"data": {"name": HOSTILE}},
        "started": HOSTILE,
    }
    page = page_of(ReportSource(base.evaluation, lines, HOSTILE, [tmp_path], metadata=metadata), tmp_path)
    Outline(page)
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ufffe\uffff]", page)
    assert "&lt;/script&gt;&lt;svg&gt;]]&gt;&amp;" in page
    assert page.count("</script>") == 1
    plots = re.findall(r"<svg.*?</svg>", page, flags=re.DOTALL)
    assert len(plots) == 10
    for plot in plots:
        ElementTree.fromstring(plot)
