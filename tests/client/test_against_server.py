"""The clients against the server itself: receipts are what `SongScorer` says of the same songs, come what may."""

import asyncio
import hashlib
import threading
import time

import numpy as np
import pytest
import soundfile
from reward_server import serving

from cmi_bench import SongScorer
from cmi_bench.client import AsyncRewardClient, RewardClient, RewardServerError, ServerFile
from cmi_bench.models.signal.model import SignalBaseline
from cmi_bench.serving.wire import ErrorCode

SR = 16000


@pytest.fixture(scope="module")
def songs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("songs")
    for hertz in (200, 300, 400):
        tone = 0.3 * np.sin(2 * np.pi * hertz * np.arange(int(SR * hertz / 400)) / SR)
        soundfile.write(folder / f"{hertz}.flac", tone, SR)
    (folder / "broken.mp3").write_bytes(b"no audio at all")
    return folder


@pytest.fixture(scope="module")
def served(songs):
    with serving({"signal": SignalBaseline()}, audio_root=songs, token="secret") as running:
        yield running


def test_receipts_of_every_form_are_the_scores_of_the_same_songs(served, songs):
    samples, sr = soundfile.read(songs / "300.flac", dtype="float32")
    stereo = np.stack([samples, samples])
    given = [songs / "200.flac", (songs / "300.flac").read_bytes(), ServerFile("400.flac"), (stereo, sr)]
    mixed = {"audio": ServerFile("200.flac"), "ref_audio": songs / "300.flac", "text": "own"}
    with RewardClient(served.address, token="secret") as client:
        client.wait_until_ready(30)
        found = client.score_batch(
            [*given, mixed, songs / "broken.mp3", ServerFile("no.flac")], text="slow", lyrics="la"
        )
        best = client.rank(given[:3], text="slow", lyrics="la")
    scorer = SongScorer(SignalBaseline())
    files = [songs / f"{hertz}.flac" for hertz in (200, 300, 400, 300)]
    expected = scorer.score_batch(files, text="slow", lyrics="la")
    expected.append(scorer.score(songs / "200.flac", text="own", ref_audio=songs / "300.flac"))
    assert [one.score.columns for one in found[:5]] == [pytest.approx(one.columns, abs=1e-9) for one in expected]
    assert [one.error and one.error.code for one in found[5:]] == [ErrorCode.UNREADABLE_AUDIO, ErrorCode.NOT_FOUND]
    assert found[0].audio_sha256 == hashlib.sha256(files[0].read_bytes()).hexdigest()
    assert found[3].audio_sha256 == hashlib.sha256(stereo.T.astype("<f4").tobytes()).hexdigest()
    order = scorer.rank(files[:3], text="slow", lyrics="la")
    assert [(one.rank, one.index) for one in best] == [(one.rank, one.index) for one in order]


def test_another_token_is_refused_at_once(served):
    with (
        pytest.raises(RewardServerError, match="token is not this server's") as caught,
        RewardClient(served.address, token="guess") as client,
    ):
        client.score_batch([b"x"])
    assert caught.value.status == 401


class Held:
    """Answers when it is let go."""

    sr = 8000
    audio_input = "waveform"

    def __init__(self):
        self.is_free = threading.Event()

    def score_batch(self, inputs, batch_size, max_dur, **kwargs):
        assert self.is_free.wait(30)
        return np.array([[np.nan, len(one.audio) / self.sr] for one in inputs])


@pytest.mark.slow
def test_a_full_queue_costs_no_song_its_score():
    model, lengths = Held(), list(range(100, 132))
    with serving({"held": model}, queue_songs=4) as running:

        async def ask():
            async with AsyncRewardClient(running.address, concurrency=16) as client:
                asked = asyncio.create_task(client.score_batch([(np.zeros(n), 8000) for n in lengths]))
                while running.service.metrics.text().count(b"busy") == 0:
                    await asyncio.sleep(0.01)
                model.is_free.set()
                return await asked

        found = asyncio.run(ask())
    assert [one.musicality for one in found] == [n / 8000 for n in lengths]


def test_who_is_interrupted_leaves_nothing_behind():
    model = Held()
    with serving({"held": model}) as running:

        async def ask():
            async with AsyncRewardClient(running.address) as client:
                asked = asyncio.create_task(client.score_batch([(np.full(100 + n, 0.1), 8000) for n in range(40)]))
                while len(running.service.queue) < 16:
                    await asyncio.sleep(0.01)
                asked.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await asked

        asyncio.run(ask())
        model.is_free.set()
        while len(running.service.queue):
            time.sleep(0.01)
