import os
from pathlib import Path
from urllib.parse import unquote

import pytest

from cmi_bench.reporting.html.mistakes import audio_link


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
