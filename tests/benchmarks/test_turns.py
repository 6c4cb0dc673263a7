"""Processes that answer in turns, without anything to compute."""

import sys

import pytest

from benchmarks.turns import Worker, busy_processes
from cmi_bench.errors import UserError

ECHO = """
import json, os, sys
print(json.dumps({"where": os.getcwd(), "word": os.environ.get("WORD")}), flush=True)
for line in sys.stdin:
    request = json.loads(line)
    if request["do"] == "fail":
        print(json.dumps({"error": "no such song"}), flush=True)
    elif request["do"] == "die":
        print("the last words", file=sys.stderr)
        sys.exit(3)
    else:
        print(json.dumps(request), flush=True)
"""


def echo(**options):
    return Worker("The echo", [sys.executable, "-c", ECHO], **options)


def test_a_process_says_that_it_is_ready_and_answers_each_request(tmp_path):
    with echo(folder=tmp_path, environment={"WORD": "held"}) as worker:
        assert worker.ready() == {"where": str(tmp_path.resolve()), "word": "held"}
        assert worker.ask(do="this", number=1) == {"do": "this", "number": 1}
        assert worker.ask(do="that") == {"do": "that"}


def test_what_a_process_says_that_it_cannot_do_is_told():
    with echo() as worker:
        worker.ready()
        with pytest.raises(UserError, match="The echo failed: no such song"):
            worker.ask(do="fail")


def test_a_process_that_ends_is_told_with_its_last_words():
    with echo() as worker:
        worker.ready()
        with pytest.raises(UserError, match="The echo ended with exit code 3") as caught:
            worker.ask(do="die")
        assert "the last words" in caught.value.hint
        with pytest.raises(UserError, match="exit code 3"):  # and again, if it is asked again
            worker.ask(do="anything")


def test_busy_processes_are_there_as_long_as_the_context():
    with busy_processes(2) as processes:
        assert [process.poll() for process in processes] == [None, None]
    assert all(process.poll() is not None for process in processes)
