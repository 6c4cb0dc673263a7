"""The queue of songs: its bounds, batches of near lengths, and songs that nobody waits for any more."""

import threading
from pathlib import Path

import pytest

from cmi_bench.data.audio_info import FileFacts
from cmi_bench.scoring.batching import BatchLimits
from cmi_bench.scoring.requests import Request
from cmi_bench.serving.queue import (
    QueueBounds,
    QueueClosedError,
    QueuedSong,
    QueueFullError,
    SongAnswer,
    SongQueue,
    Whereabouts,
)
from cmi_bench.types import Clip, Score

LIMITS = {"m": BatchLimits(3, 130.0), "n": BatchLimits(3, 130.0)}
ANSWER = SongAnswer(Score(0.1, 0.2))


@pytest.fixture
def released():
    return []


@pytest.fixture
def song(released):
    def make(seconds, *, key=None, model="m"):
        name = key or f"{model}{seconds}"
        request = Request(name, Clip(name, Path(name)), FileFacts(name, seconds), None, seconds)
        return QueuedSong(model, request, lambda: released.append(name))

    return make


def queue_of(songs=10, seconds=1000.0, ahead=1000.0, patience=0.0):
    return SongQueue(QueueBounds(songs, seconds, ahead, patience))


def decode_all(queue):
    while any(queue.counts()[place] for place in (Whereabouts.WAITING,)):
        song = queue.next_to_decode()
        queue.decoded(song, song.request.key)


def test_a_batch_has_the_oldest_song_and_those_nearest_in_length(song):
    queue = queue_of()
    queue.join([song(seconds) for seconds in (10, 60, 11, 30, 9, 62)])
    decode_all(queue)
    assert [one.seconds for one in queue.next_batch(LIMITS)] == [11, 10, 9]
    assert [one.seconds for one in queue.next_batch(LIMITS)] == [62, 60]
    assert [one.seconds for one in queue.next_batch(LIMITS)] == [30]


def test_a_batch_is_of_one_model_and_a_long_song_is_alone(song):
    queue = queue_of()
    queue.join([song(200), song(20, model="n"), song(30), song(21, model="n")])
    decode_all(queue)
    assert [one.seconds for one in queue.next_batch(LIMITS)] == [200]
    assert [one.seconds for one in queue.next_batch(LIMITS)] == [21, 20]
    assert [one.seconds for one in queue.next_batch(LIMITS)] == [30]


def test_a_batch_that_is_not_full_waits_for_more(song):
    queue = queue_of(patience=60.0)
    queue.join([song(10), song(11)])
    decode_all(queue)
    batches = []
    thread = threading.Thread(target=lambda: batches.append(queue.next_batch(LIMITS)))
    thread.start()
    queue.join([song(12)])
    decode_all(queue)
    thread.join(timeout=30)
    assert [one.seconds for one in batches[0]] == [12, 11, 10]


def test_more_than_the_queue_takes_is_refused_whole(song):
    queue = queue_of(songs=3, seconds=100)
    queue.join([song(10), song(20)])
    with pytest.raises(QueueFullError) as refused:
        queue.join([song(30), song(31)])
    assert (refused.value.songs, refused.value.retry_after) == (2, 5)
    with pytest.raises(QueueFullError):
        queue.join([song(80)])
    assert len(queue) == 2
    queue.join([song(30)])
    with pytest.raises(QueueFullError), queue.receiving():
        raise AssertionError("there is no place")


def test_bodies_on_their_way_hold_places(song):
    queue = queue_of(songs=2)
    queue.join([song(10)])
    with queue.receiving(), pytest.raises(QueueFullError), queue.receiving():
        raise AssertionError("there is no place")
    with queue.receiving():
        queue.join([song(11)])


def test_a_song_longer_than_the_queue_is_taken_alone(song):
    queue = queue_of(seconds=100, ahead=10)
    queue.join([song(500)])
    decode_all(queue)
    with pytest.raises(QueueFullError):
        queue.join([song(1)])


def test_who_is_refused_comes_again_when_half_is_done(song):
    queue = queue_of(songs=8)
    queue.join([song(seconds) for seconds in range(1, 9)])
    queue.worked("cpu", songs=4, seconds=8.0)
    queue.worked("cuda:0", songs=4, seconds=4.0)
    assert queue.rate == pytest.approx(1.5)
    with pytest.raises(QueueFullError) as refused:
        queue.join([song(9)])
    assert refused.value.retry_after == 3


def test_decoding_waits_for_the_devices(song):
    queue = queue_of(ahead=25)
    queue.join([song(10), song(11), song(12)])
    for _ in range(2):
        decoding = queue.next_to_decode()
        queue.decoded(decoding, "samples")
    found = []
    thread = threading.Thread(target=lambda: found.append(queue.next_to_decode()))
    thread.start()
    assert queue.counts()[Whereabouts.WAITING] == 1
    queue.next_batch(LIMITS)
    thread.join(timeout=30)
    assert found[0].seconds == 12


def test_one_song_asked_for_twice_is_scored_once(song, released):
    queue = queue_of(songs=1)
    first, second = *queue.join([song(10, key="x")]), *queue.join([song(10, key="x")])
    assert (len(queue), released) == (1, ["x"])
    decode_all(queue)
    (one,) = queue.next_batch(LIMITS)
    (third,) = queue.join([song(10, key="x")])
    queue.answer(one, ANSWER)
    assert [waiting.result(timeout=5) for waiting in (first, second, third)] == [ANSWER] * 3
    assert (len(queue), released) == (0, ["x"] * 3)


def test_a_song_goes_when_nobody_waits_for_it(song, released):
    queue = queue_of()
    first, second = *queue.join([song(10, key="x")]), *queue.join([song(10, key="x")])
    released.clear()
    assert queue.leave([first]) == 0
    assert queue.leave([second]) == 1
    assert (len(queue), queue.seconds, released) == (0, 0.0, ["x"])


def test_a_song_that_is_left_while_it_is_decoded_goes_then(song, released):
    queue = queue_of()
    (waiting,) = queue.join([song(10)])
    decoding = queue.next_to_decode()
    assert queue.leave([waiting]) == 1
    assert (len(queue), released) == (1, [])
    queue.decoded(decoding, "samples")
    assert (len(queue), released) == (0, ["m10"])


def test_a_closed_queue_finishes_its_songs(song):
    queue = queue_of(patience=60.0)
    (waiting,) = queue.join([song(10)])
    queue.close()
    with pytest.raises(QueueClosedError):
        queue.join([song(11)])
    with pytest.raises(QueueClosedError), queue.receiving():
        raise AssertionError("it is closed")
    decode_all(queue)
    assert queue.next_to_decode() is None
    (one,) = queue.next_batch(LIMITS)
    queue.answer(one, ANSWER)
    assert waiting.result(timeout=5) == ANSWER
    assert queue.next_batch(LIMITS) is None
