"""The page in headless Chromium: filters, order, keys, players, its address, themes, small screens, accessibility."""

from importlib.resources import files

import pytest
from report_rows import rows, write_audio, write_clip
from scored_rows import HOSTILE, VALID_PAIR, arena

from benchmarks.browser import PROGRAM, browser
from cmi_bench.config import MetricSettings
from cmi_bench.evaluation.pairing import Run
from cmi_bench.reporting.viewer.audio import AudioMode, PageAudio
from cmi_bench.reporting.viewer.page import Bound, write_view

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(PROGRAM is None, reason="no Chromium on this machine (Debian: apt install chromium)"),
]

SHOWN = "[...document.querySelectorAll('.body .line')].map(line => line.querySelector('.cell.row-number').textContent)"
COUNT = "Number(document.getElementById('grid').getAttribute('aria-rowcount')) - 1"
CHOSEN = "document.querySelector('.body .line[aria-selected=true]')"
FOCUSED = "document.activeElement.getAttribute('aria-rowindex')"
FAILED = 9
"""Row that the second run fails on."""


def write(folder, lines, *more, mode=AudioMode.LINK, **bound):
    runs = [Run(f"run {at}", of_run, f"{at}") for at, of_run in enumerate([lines, *more])]
    audio = PageAudio(mode, [folder / "data"], folder)
    return write_view(runs, MetricSettings(), folder / "view.html", audio=audio, bound=Bound(20_000, **bound)).file


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("a view")
    lines = rows()
    write_audio(folder / "data", lines)
    other = [dict(line) for line in lines]
    for line in other[::3]:
        line["predicted_musicality"] = -line["predicted_musicality"]
    other[FAILED - 1] |= {name: None for name in lines[FAILED - 1] if name.startswith("predicted")}
    other[FAILED - 1] |= {"inference_valid_a": False, "inference_error": "cannot decode"}
    write(folder, lines, other)
    return folder


@pytest.fixture(scope="module")
def tab():
    with browser(width=1440) as page:
        yield page


@pytest.fixture
def page(tab, folder):
    """The page as it is first opened, with errors that it wrote to the console."""
    go(tab, folder)
    yield tab
    assert tab.console == []


def go(tab, folder, state=""):
    tab.resize(1440, 900)
    tab.prefer()
    tab.console.clear()
    tab.open("about:blank")
    tab.wait_for("location.href === 'about:blank'")
    tab.open((folder / "view.html").as_uri() + state)
    tab.wait_for("performance.getEntriesByName('rows-shown').length")


def choose(page, name, value):
    """Choose in the form, as a hand would."""
    page.run(
        f"(control => {{ control.value = {value!r}; control.dispatchEvent(new Event('input', {{ bubbles: true }})); }})"
        f"(document.querySelector('#filters [name={name}]'))"
    )
    page.wait_for(f"location.hash.includes('{name}=')")


def counts(page):
    return page.run("document.getElementById('counts').textContent")


def test_all_rows_are_counted_and_those_in_sight_are_drawn(page):
    assert page.run(COUNT) == 96
    assert counts(page).startswith("96 lines, 48 rows.")
    assert "2 failed" in counts(page)
    assert len(page.run(SHOWN)) < 60
    page.press("End")
    assert page.run(FOCUSED) is None  # the page's own: the focus is not in the rows
    page.press("j", "End")
    assert page.run(FOCUSED) == "97"
    assert page.run(f"{CHOSEN}.querySelector('.row-number').textContent") == "48"
    page.press("Home")
    assert page.run(FOCUSED) == "2"


@pytest.mark.parametrize(
    ("name", "value", "n"),
    [
        ("dataset", "pam", 48),
        ("task", "alignment", 48),
        ("label", "both", 8),
        ("mark", "failed", 2),
        ("run", "1", 96),
        ("group", "ref_subset:ref", 24),
        ("group", "system:alder", 48),
    ],
)
def test_filters_leave_the_rows_that_answer(page, name, value, n):
    choose(page, name, value)
    assert page.run(COUNT) == n


def test_filters_go_together_and_reset_undoes_them(page):
    choose(page, "run", "1")
    choose(page, "mark", "wrong")
    wrong = page.run(COUNT)
    assert f"{wrong} wrong" in counts(page)
    choose(page, "apart", "opposite")
    assert 0 < page.run(COUNT) < wrong
    choose(page, "q", "no such words")
    assert page.run(COUNT) == 0
    assert counts(page).startswith("0 of 96 lines")
    page.run("document.getElementById('reset').click()")
    assert page.run(COUNT) == 96
    page.wait_for("location.hash === ''")


def test_text_is_searched_word_by_word_in_any_case(page):
    choose(page, "q", "prompt & 3</b> PROMPT")
    assert page.run(COUNT) == 6
    choose(page, "q", "cannot")
    page.wait_for(f"{COUNT} === 2")


def test_a_column_orders_the_rows_and_says_so(page):
    page.click("[role=columnheader] button", "Apart")
    header = "[...document.querySelectorAll('[role=columnheader]')].find(one => one.ariaSort).innerText"
    sort = "document.querySelector('[aria-sort]').getAttribute('aria-sort')"
    assert (page.run(header), page.run(sort)) == ("Apart", "descending")
    apart = (
        "[...document.querySelectorAll('.body .apart')].map(one => parseInt(one.textContent.match(/(\\d+) %/)?.[1]))"
    )
    pairs = [value for value in page.run(apart) if value is not None]
    assert len(pairs) > 10
    page.click("[role=columnheader] button", "Apart")
    assert page.run(sort) == "ascending"
    rising = [value for value in page.run(apart) if value is not None]
    assert rising[0] < pairs[0]
    page.press("j", "End")
    assert page.run(f"{CHOSEN}.querySelector('.apart').textContent") == "–"  # what has no value comes last


def test_the_address_holds_all_that_was_asked_for(page, folder):
    choose(page, "dataset", "cmi_pref")
    choose(page, "sort", "-off0")
    page.press("j", "j")
    page.wait_for("location.hash.includes('line=')")
    state, row = page.run("location.hash"), page.run(f"{CHOSEN}.textContent")
    assert "dataset=cmi_pref&sort=-off0&line=" in state
    go(page, folder, state)
    assert page.run(f"{CHOSEN}.textContent") == row
    assert page.run("document.querySelector('#filters [name=dataset]').value") == "cmi_pref"
    page.run("location.hash = '#label=A'")
    page.wait_for("document.querySelector('#filters [name=label]').value === 'A'")
    go(page, folder, "#dataset=gone&line=nothing&group=a:b&sort=bogus&run=7&from=low")
    assert page.run(COUNT) == 96


def test_keys_move_choose_and_search(page):
    page.press("j", "ArrowDown", "k")
    assert page.run(FOCUSED) == "3"
    page.press("Enter")
    assert page.run("document.activeElement.textContent") == "PAM, row 1"
    page.press("Escape")
    assert page.run(FOCUSED) == "3"
    page.press("/", "p", "a", "m")
    page.wait_for("location.hash.includes('q=pam')")
    page.press("Enter", "PageDown")
    assert int(page.run(FOCUSED)) > 10
    page.press("?")
    assert page.run("document.getElementById('help').open")
    page.press("j", "Escape")
    assert not page.run("document.getElementById('help').open")


def test_single_letters_can_be_left_to_the_reader(page):
    page.press("?")
    page.run("document.getElementById('keys-on').click()")
    page.press("Escape", "j")
    assert page.run(FOCUSED) is None
    page.wait_for("location.hash.includes('keys=off')")


def test_clips_play_one_at_a_time_from_where_they_lie(page):
    choose(page, "dataset", "cmi_pref")
    page.press("j", "j", "j")
    sources = page.run("[...document.querySelectorAll('audio')].map(one => one.getAttribute('src'))")
    assert sources == ["data/cmi/1a.wav", "data/cmi/1b.wav", "data/cmi/ref.wav"]
    playing = "[...document.querySelectorAll('audio')].map(one => one.dataset.played ?? '')"
    page.run("document.querySelectorAll('audio').forEach(one => one.addEventListener('play', "
             "() => { one.dataset.played = 'yes'; }))")  # fmt: skip
    page.press("b", " ")
    page.wait_for(f"({playing})[1] === 'yes'")
    assert page.run(playing) == ["", "yes", ""]
    assert page.run("document.querySelector('.clip.chosen h3').textContent") == "Clip B"
    page.press("r")
    page.wait_for(f"({playing})[2] === 'yes'")
    page.press("k")  # the other task of the same pair
    assert page.run("document.querySelector('.clip.chosen h3').textContent") == "Reference"
    assert page.run(playing) == ["", "yes", "yes"]
    page.press("k")
    assert page.run(playing) == ["", ""]
    assert page.run("document.querySelector('.clip.chosen h3').textContent") == "Clip A"


def test_a_row_without_reference_says_so(page):
    page.press("j", "r")
    assert page.run("document.getElementById('said').textContent") == "This row has no reference."


def test_audio_that_is_gone_is_told(folder, tab):
    clip = folder / "data/pam/clip 0#a.wav"
    content = clip.read_bytes()
    clip.unlink()
    try:
        go(tab, folder)
        tab.press("j", " ")
        tab.wait_for("document.querySelector('.detail .warn')?.textContent.includes('cannot be played from here')")
    finally:
        clip.write_bytes(content)


def test_a_failure_has_its_reason(page):
    choose(page, "mark", "failed")
    assert page.run("document.querySelector('.detail .warn').textContent") == "run 1 failed: cannot decode"
    assert page.run(f"{CHOSEN}.querySelectorAll('.run')[1].textContent") == "! failed"


def test_what_strangers_wrote_is_shown_and_does_nothing(tab, tmp_path):
    harm = HOSTILE + "<img src=x onerror=\"document.title='harmed'\"><script>document.title='harmed'</script>"
    row = arena("A", 2, 1, **VALID_PAIR, prompt=harm, lyrics=harm, model_a=harm, inference_error=harm)
    write(tmp_path, [row])
    go(tab, tmp_path)
    assert "<script>document.title='harmed'</script>" in tab.run("document.querySelector('blockquote').textContent")
    assert tab.run("document.title").startswith("run 0")
    assert tab.run("document.querySelectorAll('.body img, .detail img, .detail script, svg').length") == 0
    assert tab.console == []


def test_the_page_reaches_nothing_but_its_audio(page, folder):
    blocked = page.run("""
      Promise.all([
        fetch("http://127.0.0.1:9/").then(() => "fetched", () => "refused"),
        new Promise((done) => {
          addEventListener("securitypolicyviolation", (event) => done(event.effectiveDirective));
        }),
      ])
    """)
    assert blocked == ["refused", "connect-src"]
    page.console.clear()


def test_embedded_audio_needs_no_file(tab, tmp_path):
    row = arena("A", 2, 1, **VALID_PAIR)
    for name in ("audio-path", "audio2"):
        write_clip(tmp_path / "data" / row[name].replace(".mp3", ".wav"), 0.5)
        row[name] = row[name].replace(".mp3", ".wav")
    write(tmp_path, [row], mode=AudioMode.EMBED)
    for name in ("audio-path", "audio2"):
        (tmp_path / "data" / row[name]).unlink()
    go(tab, tmp_path)
    duration = """new Promise((done) => {
      const player = document.querySelector("audio");
      player.addEventListener("loadedmetadata", () => done(player.duration));
      player.addEventListener("error", () => done(0));
      player.preload = "metadata";
      player.load();
    })"""
    assert tab.run(duration) == pytest.approx(0.5, abs=0.01)
    assert tab.console == []


@pytest.mark.parametrize("width", [320, 640, 1440])
def test_nothing_is_wider_than_the_screen(page, width):
    page.resize(width, 800)
    page.wait_for(f"innerWidth === {width}")
    assert page.run("document.documentElement.scrollWidth") <= width
    assert page.run(f"{CHOSEN}.getBoundingClientRect().height") > 20
    assert page.run("document.querySelector('.more').open") is (width >= 640)


@pytest.mark.parametrize(
    ("scheme", "width", "key"),
    [("light", 1440, "j"), ("dark", 1440, "j"), ("light", 1440, "?"), ("dark", 320, "j"), ("light", 320, "j")],
)
def test_axe_finds_nothing(tab, folder, scheme, width, key):
    go(tab, folder)
    tab.prefer(prefers_color_scheme=scheme, prefers_reduced_motion="reduce")
    tab.resize(width, 900)
    tab.press(key)
    tab.call("Page.setBypassCSP", enabled=True)
    try:
        go_on = files("axe_core_python").joinpath("axe.min.js").read_text(encoding="utf-8")
        tab.run(f"{go_on}; 1")
        found = tab.run("axe.run(document, { resultTypes: ['violations'] }).then((done) => "
                        "[done.passes.length, done.violations.map((one) => [one.id, one.nodes[0].html])])")  # fmt: skip
    finally:
        tab.call("Page.setBypassCSP", enabled=False)
    assert found[0] > 15
    assert found[1] == []
