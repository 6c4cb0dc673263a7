"""Which checkpoints are kept."""

import errno
import json
import math

import pytest

from cmi_bench.errors import RunError
from cmi_bench.training.kept import CHECKPOINTS_FILE, KeptCheckpoints, read_checkpoints


def kept(folder, *, every=0, last=1, lower=True, write=None):
    def make(path, step, figures):
        path.mkdir(parents=True)
        (path / "model.safetensors").write_text(str(step))

    return KeptCheckpoints(folder, write or make, lower, every=every, last=last)


def there(folder):
    return sorted(int(path.name.removeprefix("step_")) for path in (folder / "checkpoints").iterdir())


def add(one, values, *, step=10):
    return [one.add(step * number, {"validation/loss": value}, value) for number, value in enumerate(values, start=1)]


def test_the_best_the_last_and_every_so_many_are_kept(tmp_path):
    one = kept(tmp_path, every=30)
    assert add(one, [0.5, 0.4, 0.6, 0.7, 0.8, 0.9, 0.95]) == [True, True, False, False, False, False, False]
    assert there(tmp_path) == [20, 30, 60, 70]
    document = json.loads((tmp_path / CHECKPOINTS_FILE).read_text())
    assert document["best"] == "checkpoints/step_000020"
    assert [line["step"] for line in document["checkpoints"]] == [20, 30, 60, 70]


def test_more_of_the_last_ones_are_kept(tmp_path):
    add(one := kept(tmp_path, last=3), [0.1, 0.5, 0.5, 0.5, 0.5])
    assert there(tmp_path) == sorted(one.figures) == [10, 30, 40, 50]


def test_none_of_the_last_ones_need_be_kept(tmp_path):
    add(kept(tmp_path, last=0), [0.1, 0.5, 0.5])
    assert there(tmp_path) == [10]


def test_higher_may_be_better_and_what_is_no_number_is_never_better(tmp_path):
    one = kept(tmp_path, lower=False)
    assert add(one, [math.nan, 0.2, math.nan, 0.3, 0.3]) == [True, True, False, True, False]
    assert one.best == 40


def test_what_is_known_survives_in_plain_values(tmp_path):
    one, other = kept(tmp_path), kept(tmp_path)
    add(one, [0.5, 0.4, 0.6])
    other.restore(json.loads(json.dumps(one.state())))
    assert other.figures == one.figures and (other.best, other.best_value) == (20, 0.4)


def test_a_full_disk_leaves_what_was_there(tmp_path):
    one = kept(tmp_path)
    add(one, [0.5, 0.4])

    def full(path, step, figures):
        raise OSError(errno.ENOSPC, "No space left on device")

    one.write = full
    with pytest.raises(RunError, match="is full"):
        one.add(30, {}, 0.3)
    assert there(tmp_path) == [20] and one.best == 20
    assert json.loads((tmp_path / CHECKPOINTS_FILE).read_text())["best"] == "checkpoints/step_000020"


def test_what_is_listed_and_there_is_read_again(tmp_path):
    assert read_checkpoints(tmp_path) == []
    add(kept(tmp_path, every=10), [0.5, 0.4, 0.6])
    (tmp_path / "checkpoints/step_000010/model.safetensors").unlink()
    (tmp_path / "checkpoints/step_000010").rmdir()
    found = read_checkpoints(tmp_path)
    assert [(one.step, one.figures["validation/loss"], one.is_best) for one in found] == [
        (20, 0.4, True),
        (30, 0.6, False),
    ]
    (tmp_path / CHECKPOINTS_FILE).write_text("{half of")
    assert read_checkpoints(tmp_path) == []
