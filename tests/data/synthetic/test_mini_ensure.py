"""The mini benchmark is built when it must be, once, and never over something else."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter

import pytest

from cmi_bench.data.synthetic import build
from cmi_bench.data.synthetic.build import ensure_mini
from cmi_bench.data.synthetic.labels import Part
from cmi_bench.errors import UserError

WHOLE = build.plan_mini()


@pytest.fixture
def builds(monkeypatch):
    """Make the benchmark small, and count how often it is built."""
    folders = []
    build_mini = build.build_mini

    def counted(root):
        folders.append(root)
        return build_mini(root)

    # PAM's first clips are WAV files, which take no time.
    monkeypatch.setattr(build, "plan_mini", lambda: Part(WHOLE.rows[38:41], WHOLE.clips[42:45]))
    monkeypatch.setattr(build, "build_mini", counted)
    return folders


@pytest.fixture
def root(builds, tmp_path):
    ensure_mini(tmp_path / "data" / "mini")
    builds.clear()
    return tmp_path / "data" / "mini"


def contents(root):
    return {path.relative_to(root): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_built_when_absent_and_then_kept(builds, tmp_path):
    assert ensure_mini(tmp_path / "mini") == tmp_path / "mini" / "all_test.jsonl"
    assert ensure_mini(tmp_path / "mini").is_file()
    assert len(builds) == 1


def test_an_empty_folder_is_filled(builds, tmp_path):
    (tmp_path / "mini").mkdir()
    assert ensure_mini(tmp_path / "mini").is_file()


@pytest.mark.parametrize("harm", ["deleted", "cut off", "rows edited", "stamp garbled"])
def test_an_incomplete_folder_is_repaired(builds, root, harm):
    before = contents(root)
    audio = next(root.rglob("*.wav"))
    if harm == "deleted":
        audio.unlink()
    elif harm == "cut off":
        audio.write_bytes(audio.read_bytes()[:1000])
    elif harm == "rows edited":
        (root / "all_test.jsonl").write_text("{}\n")
    else:
        (root / "mini_stamp.json").write_text("{")
    ensure_mini(root)
    assert len(builds) == 1
    assert contents(root) == before


def test_a_killed_build_leaves_nothing_behind(builds, root):
    before = contents(root)
    (root.parent / ".mini.building" / "junk").mkdir(parents=True)
    shutil.rmtree(root)
    ensure_mini(root)
    assert contents(root) == before
    assert {path.name for path in root.parent.iterdir()} == {"mini", ".mini.lock"}


def test_a_failing_build_leaves_the_old_folder(monkeypatch, root):
    (root / "all_test.jsonl").write_text("{}\n")

    def fail(_root):
        raise OSError("disk full")

    monkeypatch.setattr(build, "build_mini", fail)
    with pytest.raises(OSError, match="disk full"):
        ensure_mini(root)
    assert next(root.rglob("*.wav")).is_file()


def test_another_version_is_built_anew(builds, root, monkeypatch):
    monkeypatch.setattr(build, "MINI_VERSION", "next")
    ensure_mini(root)
    ensure_mini(root)
    assert len(builds) == 1


def test_what_is_not_ours_is_left_alone(builds, tmp_path):
    (tmp_path / "all_test.jsonl").write_text("precious\n")
    with pytest.raises(UserError, match="not made by the mini benchmark"):
        ensure_mini(tmp_path)
    assert (tmp_path / "all_test.jsonl").read_text() == "precious\n"


def test_many_at_once_build_once(builds, tmp_path):
    with ThreadPoolExecutor(4) as pool:
        files = list(pool.map(ensure_mini, [tmp_path / "mini"] * 4))
    assert len(set(files)) == 1
    assert len(builds) == 1


def test_quick_when_it_is_there(mini_root):
    start = perf_counter()
    ensure_mini(mini_root)
    # Some 5 ms; the rest is for busy machines.
    assert perf_counter() - start < 0.2
