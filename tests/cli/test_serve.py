"""`cmi-bench serve`: what is wrong is told before anything is loaded; how models are named."""

import socket

import pytest

from cmi_bench.cli.serve import served_models
from cmi_bench.errors import UserError


@pytest.mark.parametrize(
    ("words", "checkpoint", "expected"),
    [
        ([], None, {"cmi_rm": (None, None)}),
        ([], "runs/step_5", {"step_5": (None, "runs/step_5")}),
        (["signal"], None, {"signal": ("signal", None)}),
        (["cmi_rm"], "me/model", {"cmi_rm": ("cmi_rm", "me/model")}),
        (["signal", "big=cmi_rm:/a:b/step_5"], None, {"signal": ("signal", None), "big": ("cmi_rm", "/a:b/step_5")}),
        (["cmi_rm:x=1/a"], None, {"cmi_rm": ("cmi_rm", "x=1/a")}),
    ],
)
def test_how_models_are_named(words, checkpoint, expected):
    assert served_models(words, checkpoint) == expected


@pytest.mark.parametrize(
    ("words", "checkpoint", "says"),
    [
        (["signal", "signal"], None, "Two models are called 'signal'"),
        (["signal", "cmi_rm"], "x", "--checkpoint goes with one --model"),
        (["cmi_rm:a"], "x", "--checkpoint goes with one --model"),
        (["=signal"], None, "is not understood"),
        (["a=:x"], None, "is not understood"),
        (["cmi_rm:"], None, "is not understood"),
    ],
)
def test_how_models_are_not_named(words, checkpoint, says):
    with pytest.raises(UserError, match=says):
        served_models(words, checkpoint)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--host", "0.0.0.0"], "lets other machines in, and there is no token"),
        (["--audio-root", "gone"], "--audio-root gone is no folder"),
        (["--queue", "10"], "--max-songs 128 is more than --queue 10"),
        (["--device", "cpu,cpu"], "names no device, or one twice"),
        (["--device", "gpu"], "There is no device 'gpu'"),
        (["--set", "limit=3"], "has no effect on songs"),
        (["--model", "signl"], "signl"),
        (["--port", "{taken}"], "Address already in use"),
        (["--host", "192.0.2.1", "--port", "0"], "Cannot listen on 192.0.2.1"),
    ],
)
def test_what_is_wrong_is_told_before_anything_is_loaded(cli, songs, monkeypatch, words, says):
    monkeypatch.setenv("CMI_BENCH_TOKEN", "x" if "192.0.2.1" in words else "")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        chosen = [] if "--model" in words else ["--model", "signal"]
        done = cli("serve", *chosen, *[word.format(taken=port) for word in words], cache=False)
    assert done.exit_code == 1, done.output
    assert says in done.stderr
