"""What a server counts and measures, for Prometheus (`GET /metrics`)."""

from collections.abc import Callable
from functools import partial

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

from cmi_bench.serving.queue import SongQueue, Whereabouts
from cmi_bench.serving.wire import ErrorCode

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
SIZES = (1, 2, 4, 8, 16, 32, 64, 128)
AUDIO_SECONDS = (5, 10, 30, 60, 120, 240, 480, 960)


class ServerMetrics:
    """Counters, and what is looked up when somebody asks."""

    def __init__(self, queue: SongQueue, out_of_memory: Callable[[], float]) -> None:
        """Begin at zero.

        Args:
            queue: The songs on their way.
            out_of_memory: Returns how often a batch did not fit into memory.
        """
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self.requests = Counter("cmi_bench_requests", "Requests answered.", ["path", "status"], registry=registry)
        self.latency = Histogram(
            "cmi_bench_request_seconds", "From a request's headers to its answer.", ["path"],
            buckets=SECONDS, registry=registry,
        )  # fmt: skip
        self._songs = Counter(
            "cmi_bench_songs", "Songs by what came of them: scored, from_store, failed, dropped (the client had gone).",
            ["model", "result"], registry=registry,
        )  # fmt: skip
        self._failures = Counter(
            "cmi_bench_failures", "Requests refused and songs that failed, by reason.", ["code"], registry=registry
        )
        self._batches = Histogram(
            "cmi_bench_batch_songs", "Songs in a batch.", ["model"], buckets=SIZES, registry=registry
        )
        self._batch_audio = Histogram(
            "cmi_bench_batch_audio_seconds", "Seconds of audio in a batch.", ["model"],
            buckets=AUDIO_SECONDS, registry=registry,
        )  # fmt: skip
        self._stages = Histogram(
            "cmi_bench_stage_seconds",
            "Where time goes: receive and look_up of a request, decode and queue of a song, score of a batch.",
            ["stage"], buckets=SECONDS, registry=registry,
        )  # fmt: skip
        waiting = Gauge("cmi_bench_queue_songs", "Songs on their way.", ["place"], registry=registry)
        for place in Whereabouts:
            waiting.labels(place.name.lower()).set_function(partial(_count, queue, place))
        audio = Gauge("cmi_bench_queue_audio_seconds", "Seconds of audio of the songs on their way.", registry=registry)
        audio.set_function(lambda: queue.seconds)
        rate = Gauge("cmi_bench_songs_per_second", "Rate of the last batches, of all devices.", registry=registry)
        rate.set_function(lambda: queue.rate)
        memory = Gauge("cmi_bench_out_of_memory", "Batches that did not fit into memory.", registry=registry)
        memory.set_function(out_of_memory)

    def text(self) -> bytes:
        """Return all in Prometheus' text format."""
        return generate_latest(self.registry)

    def answered(self, path: str, status: int, seconds: float) -> None:
        """Count an answer."""
        self.requests.labels(path, str(status)).inc()
        self.latency.labels(path).observe(seconds)

    def song(self, model: str, result: str, *, count: int = 1) -> None:
        """Count songs by what came of them."""
        self._songs.labels(model, result).inc(count)

    def failure(self, code: ErrorCode) -> None:
        """Count a request or a song that failed."""
        self._failures.labels(code.value).inc()

    def batch(self, model: str, songs: int, audio_seconds: float) -> None:
        """Count a batch."""
        self._batches.labels(model).observe(songs)
        self._batch_audio.labels(model).observe(audio_seconds)

    def stage(self, name: str, seconds: float) -> None:
        """Take note of how long a part of the work took."""
        self._stages.labels(name).observe(seconds)


def _count(queue: SongQueue, place: Whereabouts) -> float:
    return queue.counts()[place]
