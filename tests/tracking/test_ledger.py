"""How often weights were scored on test sets: what a look is, lines that many processes append, counts."""

import json
import logging
import subprocess
import sys
from dataclasses import replace

import pytest

from cmi_bench.tracking.ledger import Look, count_looks, looks_of, read_ledger, record_looks


def metadata(checkpoint=None, *, weights="w", data="benchmark", split="test", sets=("PAM",), **model):
    return {
        "model": {"name": "mine", "class": "a.B", "code": "c", "digest": weights, "weights": weights} | model,
        "config": {
            "model": {"name": "mine"} | ({"checkpoint": str(checkpoint)} if checkpoint else {}),
            "data": {"name": data, "split": split},
        },
        "data": {"datasets": [{"name": name, "rows": 5, "digest": f"rows of {name}"} for name in sets]},
    }


def looks(folder, *args, **settings):
    return looks_of(metadata(*args, **settings), folder)


def test_a_run_looks_at_each_of_its_test_sets(tmp_path):
    found = looks(tmp_path, "ckpts/step_50", sets=("PAM", "CMI-Pref"))
    assert [(one.dataset, one.rows, one.weights, one.run) for one in found] == [
        ("PAM", 5, "w", str(tmp_path)), ("CMI-Pref", 5, "w", str(tmp_path)),
    ]  # fmt: skip
    assert looks(tmp_path, split="validation") == []
    assert looks(tmp_path, weights=None) == []  # such as a model without any
    named = [looks(tmp_path, name, weights=None)[0].weights for name in ("a.pt", "a.pt", "b.pt")]
    assert named[0] == named[1] != named[2]


@pytest.mark.parametrize(
    ("checkpoint", "others"),
    [
        ("ckpts/step_50", ["ckpts/step_100", "ckpts/step_150/model.safetensors", "ckpts/epoch_3.ckpt"]),
        ("Some/Model@step_50", ["Some/Model@step_100"]),
    ],
)
def test_the_checkpoints_of_a_training_are_known_by_their_folder_or_repository(tmp_path, checkpoint, others):
    (first,) = looks(tmp_path, checkpoint)
    assert {looks(tmp_path, one, weights="v")[0].training for one in others} == {first.training}
    for other in ("elsewhere/step_50", "Other/Model@step_50"):
        assert looks(tmp_path, other, weights="v")[0].training != first.training


def test_a_training_that_gave_its_checkpoints_an_id_is_known_by_it_wherever_they_lie(tmp_path):
    ids = [looks(tmp_path, place, training={"run": "abc"})[0].training for place in ("x/step_1", "y/step_2")]
    assert ids == ["abc", "abc"]
    # Models beside each other in a folder are no training.
    alone = [looks(tmp_path, f"models/{name}.pt", weights=name)[0].training for name in "ab"]
    assert alone == ["a", "b"]


def test_looks_are_distinct_checkpoints_of_the_training_on_the_same_test_set(tmp_path):
    ledger = [
        *looks(tmp_path, "c/step_1", weights="1"),
        *looks(tmp_path, "c/step_1", weights="1"),  # scored once more, which tells nothing new
        *looks(tmp_path, "c/step_2", weights="2", sets=("PAM", "CMI-Pref")),
        *looks(tmp_path, "c/step_3", weights="3", data="mini"),
        *looks(tmp_path, "d/step_1", weights="4"),
    ]
    run = looks(tmp_path, "c/step_4", weights="5", sets=("PAM", "CMI-Pref"))
    assert count_looks(ledger, run) == 3  # on PAM; on CMI-Pref 2
    assert count_looks([*ledger, *run], run) == 3
    assert count_looks(ledger, looks(tmp_path, "c/step_3", weights="3", data="mini")) == 1
    assert count_looks([], run) == 1
    assert count_looks(ledger, []) == 0
    # A checkpoint that was moved since is still one of its training's.
    assert count_looks(ledger, looks(tmp_path, "best.pt", weights="2")) == 2


def look(number=0):
    return Look("2026-01-01T00:00:00+00:00", "mini", "PAM", "d", 5, f"w{number}", "m", "c/step_1", "t", "/run")


def test_what_is_recorded_is_read_again_and_a_line_cut_off_costs_no_other(tmp_path, caplog):
    file = tmp_path / "deep" / "eval_budget.jsonl"
    assert read_ledger(file) == []
    record_looks(file, [look(1), look(2)])
    file.write_text(file.read_text() + '{"time": "2026-01-')  # the disk was full
    record_looks(file, [look(3)])
    with caplog.at_level(logging.WARNING):
        assert read_ledger(file) == [look(1), look(2), look(3)]
    assert "1 lines are no looks (the first is line 3)" in caplog.text
    assert all(json.loads(line)["dataset"] == "PAM" for line in file.read_text().splitlines() if line.endswith("}"))


def test_a_ledger_that_cannot_be_written_or_read_is_a_warning(tmp_path, caplog):
    (tmp_path / "file").write_text("")
    with caplog.at_level(logging.WARNING):
        record_looks(tmp_path / "file" / "eval_budget.jsonl", [look()])
        record_looks(tmp_path, [look()])
        assert read_ledger(tmp_path) == []
    assert caplog.text.count("That the test sets were looked at could not be written to") == 2
    assert f"{tmp_path} cannot be read" in caplog.text


APPENDS = """
import sys
from pathlib import Path
from cmi_bench.tracking.ledger import Look, record_looks
for number in range(20):
    record_looks(Path(sys.argv[1]), [Look("t", "mini", "PAM", "d" * 3000, 5, f"{sys.argv[2]}-{number}", *"mcrx")])
"""


@pytest.mark.slow
def test_processes_append_at_the_same_time(tmp_path):
    file = tmp_path / "eval_budget.jsonl"
    running = [subprocess.Popen([sys.executable, "-c", APPENDS, str(file), str(one)]) for one in range(4)]
    assert [process.wait() for process in running] == [0] * 4
    found = read_ledger(file)
    assert {one.weights for one in found} == {f"{one}-{number}" for one in range(4) for number in range(20)}
    assert count_looks(found, [replace(found[0])]) == 80
