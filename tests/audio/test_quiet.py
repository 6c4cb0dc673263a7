"""What decoders say to the terminal: nothing; what others say meanwhile stays."""

import contextlib
import ctypes
import io
import os
import sys
import threading

import numpy as np
import pytest
import soundfile

from cmi_bench.audio.decode import decode
from cmi_bench.audio.probe import measure, probe
from cmi_bench.audio.quiet import quiet_c_library
from cmi_bench.audio.readers import read_audio

SR = 44100


@pytest.fixture(scope="module")
def song():
    """Two seconds as the bytes of an MP3 file."""
    rng = np.random.default_rng(0)
    file = io.BytesIO()
    soundfile.write(file, (0.2 * rng.standard_normal((2 * SR, 2))).astype(np.float32), SR, format="MP3")
    return file.getvalue()


def flipped(data):
    """Some bits of the frames are wrong, as from a bad disk: headers and lengths stay what they were."""
    damaged = bytearray(data)
    for position in range(len(data) // 4, len(data) // 2, 397):
        damaged[position] ^= 0xFF
    return bytes(damaged)


DAMAGE = {
    "flipped bits": flipped,
    "cut off": lambda data: data[: len(data) // 2 + 37],
    "a hole": lambda data: data[: len(data) // 3] + data[len(data) // 3 + 777 :],
    "zeros inside": lambda data: data[: len(data) // 3] + bytes(5000) + data[len(data) // 3 + 5000 :],
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_mp3_says_nothing_on_the_terminal(song, tmp_path, capfd, damage):
    path = tmp_path / "song.mp3"
    path.write_bytes(DAMAGE[damage](song))
    with contextlib.suppress(soundfile.LibsndfileError):
        soundfile.read(path)
    assert "pg123" in (heard := capfd.readouterr().err) or "Warning" in heard  # or this test would be worth nothing
    assert len(decode(path, SR, 0.5)) == SR / 2
    assert len(read_audio(path).values) > SR / 2
    probe(path), measure(path)
    assert capfd.readouterr() == ("", "")


def say(word):
    """Have C print on its stderr: "WORD: Success", or another error."""
    ctypes.CDLL(None).perror(word.encode())


def test_what_python_writes_meanwhile_is_not_lost(capfd):
    with quiet_c_library():
        say("C")
        sys.stderr.write("a message of ours\n")
        thread = threading.Thread(target=os.write, args=(2, b"and of a thread\n"))
        thread.start()
        thread.join()
    assert capfd.readouterr().err == "a message of ours\nand of a thread\n"


def test_afterwards_c_is_heard_again_whoever_ends_last(capfd):
    inside, over = threading.Event(), threading.Event()

    def decoding():
        with quiet_c_library():
            inside.set()
            over.wait(60)

    thread = threading.Thread(target=decoding)
    with quiet_c_library():
        thread.start()
        assert inside.wait(60)
    say("still decoding")
    over.set()
    thread.join()
    say("done")
    assert capfd.readouterr().err.startswith("done: ")


def test_c_is_heard_in_a_process_that_was_forked_meanwhile(capfd):
    with quiet_c_library():
        child = os.fork()
        if not child:
            say("child")
            os._exit(0)
        os.waitpid(child, 0)
    assert capfd.readouterr().err.startswith("child: ")
