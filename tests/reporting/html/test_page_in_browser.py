"""The page in headless Chromium: themes, plots, players, the keyboard, a telephone's width."""

import pytest
from chromium import BROWSER, DARK, LIGHT, ask
from report_rows import rows, source_of, write_audio
from sweep_report import sweep_source

from cmi_bench.reporting.html.page import write_page
from cmi_bench.reporting.html.sweep_page import write_sweep_page

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine (Debian: apt install chromium)"),
]

LOOK = """
  const style = (element) => getComputedStyle(element);
  const plots = [...document.querySelectorAll("figure svg")];
  const button = document.getElementById("theme");
  const theme = () => ({
    page: style(document.body).backgroundColor,
    text: style(document.body).color,
    plotText: style(plots[0].querySelector("text")).fill,
    button: button.textContent,
  });
  const before = theme();
  button.click();
  const after = theme();
  return { before, after, sizes: plots.map((plot) => {
    const box = plot.getBoundingClientRect();
    return [box.width, box.height, plot.querySelectorAll("path, use").length];
  }) };
"""
LOAD_AUDIO = """
  const players = [...document.querySelectorAll("audio")];
  return Promise.all(players.map((player) => new Promise((done) => {
    player.addEventListener("loadedmetadata", () => done([player.getAttribute("src"), player.duration]));
    player.addEventListener("error", () => done([player.getAttribute("src"), 0]));
    player.preload = "metadata";
    player.load();
  })));
"""
TAB = """
  // What the Tab key stops at, in its order: all that can take the focus and is shown.
  const stops = [...document.querySelectorAll("a[href], button, summary, audio, [tabindex='0']")];
  const shown = stops.filter((one) => one.checkVisibility());
  shown.forEach((one) => one.focus());
  shown[0].focus();
  return { kinds: shown.map((one) => one.tagName), last: document.activeElement.className,
           skip: shown[0].getBoundingClientRect().left };
"""
NARROW = """
  const frame = document.createElement("iframe");
  frame.width = 375;
  frame.src = "report.html";
  document.body.append(frame);
  await new Promise((done) => frame.addEventListener("load", done));
  const page = frame.contentDocument;
  page.querySelectorAll("details").forEach((one) => { one.open = true; });
  return { width: page.documentElement.scrollWidth, inner: frame.contentWindow.innerWidth,
           plot: page.querySelector("figure svg").getBoundingClientRect().width,
           text: Math.min(...[...page.querySelectorAll("figure svg text")].map((one) => {
             const { a, b } = one.getCTM();
             return parseFloat(frame.contentWindow.getComputedStyle(one).fontSize) * Math.hypot(a, b);
           })) };
"""


PLOTS = {"a run": 8, "a sweep": 4}


@pytest.fixture(scope="module", params=PLOTS)
def page(request, tmp_path_factory):
    """The page of a run, and that of a sweep."""
    base = tmp_path_factory.mktemp("browser")
    lines = rows()
    write_audio(base / "data", lines)
    if request.param == "a sweep":
        return write_sweep_page(sweep_source(500, 1000, 2000, root=base / "data"), base / request.param)
    return write_page(source_of(lines, root=base / "data"), base / request.param)[0]


@pytest.mark.parametrize(("scheme", "light"), [(LIGHT, True), (DARK, False)])
def test_themes_follow_the_reader_and_the_button_and_plots_follow_the_theme(page, scheme, light):
    seen = ask(page, LOOK, scheme=scheme)
    assert seen.console == []
    bright = {"page": "rgb(255, 255, 255)", "text": "rgb(27, 33, 41)", "plotText": "rgb(27, 33, 41)"}
    night = {"page": "rgb(19, 22, 27)", "text": "rgb(231, 234, 238)", "plotText": "rgb(231, 234, 238)"}
    expected = [bright | {"button": "Dark theme"}, night | {"button": "Light theme"}]
    muted = {"rgb(90, 101, 114)", "rgb(163, 173, 185)"}  # tick labels
    found = [seen.found["before"], seen.found["after"]]
    for one, wanted in zip(found, expected if light else expected[::-1], strict=True):
        assert one | {"plotText": ""} == wanted | {"plotText": ""}
        assert one["plotText"] in {wanted["plotText"], *muted}
    assert found[0]["plotText"] != found[1]["plotText"]
    assert len(seen.found["sizes"]) == PLOTS[page.parent.name]
    assert all(width > 250 and height > 80 and marks > 10 for width, height, marks in seen.found["sizes"])


def test_every_player_finds_its_file(page):
    seen = ask(page, LOAD_AUDIO)
    assert seen.console == []
    assert len(seen.found) > 20
    assert [src for src, seconds in seen.found if not seconds > 0.15] == []


def test_a_player_whose_file_went_away_says_so(page):
    script = LOAD_AUDIO.replace("player.load();", 'player.src = "gone.wav"; player.load();')
    seen = ask(page, f"await (async () => {{ {script} }})(); return document.querySelectorAll('.warn').length;")
    assert seen.found > 20


def test_errors_of_a_page_would_be_seen(page):
    assert len(ask(page, 'console.error("boom"); return 1;').console) == 1


def test_the_keyboard_reaches_everything(page):
    seen = ask(page, TAB)
    kinds = seen.found["kinds"]
    assert kinds[0] == "A"
    assert seen.found["last"] == "skip"
    assert seen.found["skip"] >= 0  # on the screen once it has the focus
    assert {"A", "BUTTON", "SUMMARY", "AUDIO", "DIV"} <= set(kinds)


def test_a_telephone_shows_it_without_scrolling_sideways(page):
    found = ask(page, NARROW).found
    assert found["width"] <= found["inner"] <= 375
    assert found["plot"] > 300
    assert found["text"] > 8
