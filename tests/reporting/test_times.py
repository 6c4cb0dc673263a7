"""Where the time of a run went, for people."""

import pytest

from cmi_bench.reporting.times import describe_times
from cmi_bench.scoring.run_stats import RunStats


def metadata(wall, *, processes=1, workers=2, **seconds):
    stats = RunStats(processes=processes)
    stats.seconds.update(seconds)
    return stats.over(wall) | {"config": {"workers": workers}}


def test_the_parts_of_a_run():
    of_run = metadata(20.0, load=1.0, wait=2.0, encode=12.0, head=0.6, write=0.1, check=1.0, decode=5.14)
    assert describe_times(of_run) == (
        "Scored in 20.0 s: 5 % loading the model, 10 % waiting for audio, 60 % encoding, 3 % scoring, 5 % batch check,"
        " 17 % start and rest.\nDecoding took 5.1 s, beside that in 2 workers."
    )


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"processes": 4, "workers": 1}, "Scored in 10.0 s in 4 processes: 20 % encoding,"),
        ({"processes": 4, "workers": 1}, "Decoding took 3.0 s, beside that in 4 workers."),
        ({"workers": 1}, "in 1 worker."),
        ({"workers": 0}, "Decoding took 3.0 s, in which the model waited; workers=2 decodes beside it."),
    ],
)
def test_processes_and_workers(options, said):
    assert said in describe_times(metadata(10.0, encode=8.0, decode=3.0, **options))


def test_the_share_of_the_best_rate():
    of_run = metadata(10.0, encode=8.0, decode=3.0) | {"encoding": {"share_of_best": 0.583}}
    assert describe_times(of_run).endswith("in 2 workers. Encoding ran at 58 % of the device's best rate.")


def test_embeddings_that_were_there_are_read():
    text = describe_times(metadata(10.0, head=2.0, wait=3.0))
    assert text == "Scored in 10.0 s: 30 % reading embeddings, 20 % scoring, 50 % start and rest."


@pytest.mark.parametrize("seconds", [{}, {"load": 1.0, "write": 0.1}])
def test_a_run_that_computed_nothing_has_no_line(seconds):
    assert not describe_times(metadata(3.0, **seconds))
    assert not describe_times({})


def test_shares_add_up_over_processes():
    facts = metadata(10.0, processes=2, encode=12.0, write=2.0)
    assert facts["shares_of_wall"] == {"encode": 0.6, "write": 0.1, "rest": 0.3}
