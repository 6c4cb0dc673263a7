import base64

import pytest

from cmi_bench.errors import UserError
from cmi_bench.reporting.viewer import audio as viewer_audio
from cmi_bench.reporting.viewer.audio import AudioMode, PageAudio


@pytest.fixture
def root(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data/a b.mp3").write_bytes(b"sound")
    return tmp_path / "data"


def page(mode, root):
    return PageAudio(mode, [root], root.parent)


def test_links_are_seen_from_the_page(root):
    audio = page(AudioMode.LINK, root)
    assert [audio.add(path) for path in ("a b.mp3", "gone.mp3", "", "a b.mp3")] == [0, 1, -1, 0]
    assert audio.entries == [
        ["a b.mp3", "data/a%20b.mp3", ""],
        ["gone.mp3", None, "not found under data.root"],
    ]
    assert audio.missing == ["gone.mp3"]


def test_embedded_files_are_within_the_page_with_their_type(root):
    audio = page(AudioMode.EMBED, root)
    audio.add("gone.mp3")
    number = audio.add("a b.mp3")
    (media_type, content) = audio.embedded[number]
    assert (media_type, base64.b64decode(content)) == ("audio/mpeg", b"sound")
    assert audio.missing == ["gone.mp3"]


def test_without_audio_nothing_is_missing(root):
    audio = page(AudioMode.NONE, root)
    audio.add("gone.mp3")
    assert (audio.entries, audio.missing) == ([["gone.mp3", None, ""]], [])


def test_more_than_a_page_can_hold_is_a_mistake(root, monkeypatch):
    monkeypatch.setattr(viewer_audio, "MAX_EMBEDDED", 8)
    (root / "b.mp3").write_bytes(b"sound")
    audio = page(AudioMode.EMBED, root)
    audio.add("a b.mp3")
    with pytest.raises(UserError, match="more than the 0 MB"):
        audio.add("b.mp3")


def test_nothing_outside_of_the_root_gets_into_a_page(root):
    (root.parent / "secret.txt").write_text("secret")
    audio = page(AudioMode.EMBED, root)
    audio.add("../secret.txt")
    assert audio.embedded == {}
    assert "outside" in audio.entries[0][2]


def test_tables_of_ones_own_have_roots_of_their_own(root):
    mine = root.parent / "mine"
    mine.mkdir()
    (mine / "a b.mp3").write_bytes(b"another sound")
    audio = PageAudio(AudioMode.LINK, [root], root.parent, own_roots={"mine": mine})
    numbers = [audio.add("a b.mp3", dataset) for dataset in ("mine", "PAM", "MusicEval", "mine")]
    assert [audio.entries[number][1] for number in numbers] == [
        "mine/a%20b.mp3", "data/a%20b.mp3", "data/a%20b.mp3", "mine/a%20b.mp3",
    ]  # fmt: skip
    assert len(audio.entries) == 2
