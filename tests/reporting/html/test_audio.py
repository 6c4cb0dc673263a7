import os
from pathlib import Path
from urllib.parse import unquote

import pytest

from cmi_bench.reporting.html.audio import audio_link


@pytest.fixture
def data(tmp_path):
    path = tmp_path / "data/a b/c#1?.wav"
    path.parent.mkdir(parents=True)
    path.touch()
    return tmp_path / "data"


def test_a_file_is_linked_from_the_page_up_and_down_again(data, tmp_path):
    folder = tmp_path / "outputs/run"
    link = audio_link("a b/c#1?.wav", [tmp_path / "elsewhere", data], folder)
    assert link.url == "../../data/a%20b/c%231%3F.wav"
    assert link.path == "a b/c#1?.wav"
    assert Path(os.path.normpath(folder / unquote(link.url))) == data / "a b/c#1?.wav"


def test_absolute_paths_of_a_row_are_found(data, tmp_path):
    assert audio_link(str(data / "a b/c#1?.wav"), [tmp_path], tmp_path).url == "data/a%20b/c%231%3F.wav"


def test_roots_may_be_relative_to_where_the_command_was_given(data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert audio_link("a b/c#1?.wav", [data.relative_to(tmp_path)], tmp_path / "run").url.startswith("../data/")


def test_a_file_that_is_not_there_says_so(data, tmp_path):
    link = audio_link("b.wav", [data], tmp_path)
    assert link.url is None
    assert link.problem == "not found under data.root"


@pytest.mark.parametrize("path", ["../secret.wav", "a b/../../secret.wav", "{folder}/secret.wav"])
def test_a_file_outside_of_the_root_is_linked_only_where_that_is_allowed(data, tmp_path, path):
    (tmp_path / "secret.wav").touch()
    audio = path.format(folder=tmp_path)
    link = audio_link(audio, [data], tmp_path / "run")
    assert (link.url, link.problem) == (None, "lies outside of data.root; data.allow_outside=true links to it")
    assert audio_link(audio, [data], tmp_path / "run", allow_outside=True).url.endswith("secret.wav")


@pytest.mark.parametrize("audio", ["x" * 5000, "a\0b.wav", "../a\0b.wav"])
def test_a_name_that_no_file_can_have_is_no_error(data, tmp_path, audio):
    assert audio_link(audio, [data], tmp_path).url is None


def test_names_that_are_not_utf8_are_linked_by_their_bytes(data, tmp_path):
    name = os.fsdecode(b"\xe4.wav")
    (data / name).touch()
    assert audio_link(name, [data], tmp_path).url == "data/%E4.wav"
