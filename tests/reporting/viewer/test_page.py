import json
import re

import pytest
from full_size import full_size_rows
from scored_rows import HOSTILE, VALID_PAIR, arena

from cmi_bench.config import MetricSettings
from cmi_bench.errors import UserError
from cmi_bench.evaluation.pairing import Run
from cmi_bench.reporting.viewer.audio import AudioMode, PageAudio
from cmi_bench.reporting.viewer.page import Bound, content_policy, script_json, write_view


def write(tmp_path, *rows_of, most=20_000, mode=AudioMode.LINK, notes=(), name="view.html"):
    runs = [Run(f"run {at}", rows, f"{at}/results.jsonl") for at, rows in enumerate(rows_of)]
    audio = PageAudio(mode, [tmp_path / "data"], tmp_path)
    return write_view(
        runs, MetricSettings(), tmp_path / name, audio=audio, bound=Bound(most), notes=notes
    )  # fmt: skip


def data_of(page):
    (found,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    return json.loads(found)


def test_whatever_strangers_wrote_stays_text(tmp_path):
    row = arena("A", 2, 1, **VALID_PAIR, prompt=HOSTILE, lyrics=HOSTILE, model_a=HOSTILE, inference_error=HOSTILE)
    page = write(tmp_path, [row | {"audio-path": HOSTILE.replace("\0", "")}], notes=[HOSTILE]).file.read_bytes()
    text = page.decode("utf-8")
    assert text.count("</script>") == text.count("<script") == 2
    assert "<svg>" not in text
    assert any("</script><svg>" in one for one in data_of(text)["texts"])
    assert re.search("[\x00-\x08\x0b\x0e-\x1f\u2028\x85]", text) is None


def test_the_policy_allows_the_pages_own_script_and_audio_and_nothing_else(tmp_path):
    page = write(tmp_path, [arena("A", 2, 1)]).file.read_text()
    policy = re.search('Content-Security-Policy" content="([^"]+)"', page)[1].replace("&#39;", "'")
    script = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)[-1]
    style = re.search(r"<style>(.*?)</style>", page, re.DOTALL)[1]
    assert policy == content_policy(style, script, AudioMode.LINK)
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in policy and "http" not in policy
    assert not re.search(r"(src|href)=\"https?:|url\(|@import", page)


@pytest.mark.parametrize("text", ["</script>", "<!--<script", "&lt;", "a\\u003c", '"\\"'])
def test_json_within_a_page_is_read_as_it_was(text):
    written = script_json({"prompt": text})
    assert json.loads(written) == {"prompt": text}
    assert not set("<>&") & set(written)


def test_the_same_runs_give_the_same_bytes(tmp_path):
    rows = [arena("A", at % 3, 1, **VALID_PAIR) for at in range(20)]
    pages = [write(tmp_path, rows, rows, most=7, name=name).file.read_bytes() for name in ("a.html", "b.html")]
    assert pages[0] == pages[1]


def test_what_was_left_out_is_told(tmp_path):
    rows = [arena("A", at, 5, **VALID_PAIR) for at in range(10)]
    written = write(tmp_path, rows, rows[:8], most=4, notes=["synthetic rows"])
    assert written.n_rows == 4
    assert written.notes[0].startswith("6 rows of 10 left out: the page has 4 (--rows).")
    assert written.notes[1] == "The runs are over different rows: run 1 lacks 2 rows."
    assert written.notes[2] == "synthetic rows"
    assert "audio files of" in written.notes[3]
    page = written.file.read_text()
    assert all(note.replace("'", "&#39;") in page for note in written.notes)


def test_rows_that_are_passed_over_are_told(tmp_path):
    strange, row = {"source": "elsewhere", "split": "test"}, arena("A", 2, 1, **VALID_PAIR)
    written = write(tmp_path, [row, strange, row | {"split": "train"}], [row, strange])
    assert written.notes[:2] == [
        "run 0: 1 row of split 'train' left out.",
        "1 row of unknown source 'elsewhere' left out.",
    ]


def test_nobodys_results_are_overwritten(tmp_path):
    results = tmp_path / "results.jsonl"
    results.write_text("{}")
    with pytest.raises(UserError, match=r"results\.jsonl is there, and no page"):
        write(tmp_path, [arena("A", 2, 1)], name="results.jsonl")
    assert results.read_text() == "{}"
    with pytest.raises(UserError, match="cannot be replaced"):
        (tmp_path / "folder").mkdir()
        write(tmp_path, [arena("A", 2, 1)], name="folder")
    first = write(tmp_path, [arena("A", 2, 1)]).file.read_text()
    assert write(tmp_path, [arena("A", 1, 2)]).file.read_text() != first


def test_rows_of_no_known_dataset_are_a_mistake(tmp_path):
    with pytest.raises(UserError, match="No row of split 'test'"):
        write(tmp_path, [arena("A", 2, 1, split="train")])


def test_embedded_audio_lies_within_the_page(tmp_path):
    (tmp_path / "data/MusicArena_data/audio_files/01-2025JULAUG").mkdir(parents=True)
    (tmp_path / "data/MusicArena_data/audio_files/01-2025JULAUG/a.mp3").write_bytes(b"sound")
    page = write(tmp_path, [arena("A", 2, 1)], mode=AudioMode.EMBED).file.read_text()
    assert 'id="audio-0" data-type="audio/mpeg">c291bmQ=</script>' in page
    assert "media-src data:;" in page


@pytest.mark.slow
def test_four_runs_of_the_whole_benchmark_stay_small(tmp_path):
    written = write(tmp_path, *(full_size_rows(skill=at, seed=at) for at in range(4)))
    assert written.n_rows == 2753
    data = data_of(written.file.read_text())
    assert len(data["lines"]["row"]) == 3753
    without_texts = written.file.stat().st_size - sum(len(text) for text in data["texts"])
    assert without_texts < 3e6
