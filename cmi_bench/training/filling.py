"""Fill the embedding cache for rows: with what training reads, what scoring reads, or both.

What scoring has left is pooled without decoding anything; the rest is decoded once, however many models embed it, and
encoded once. Processes share the work as those of a run do, and what was stopped goes on where it was.
"""

import logging
from collections.abc import Mapping, Sequence, Set
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from cmi_bench.config import Config, OnError
from cmi_bench.data.audio_info import AudioIndex
from cmi_bench.data.rows import Row
from cmi_bench.errors import RunError, UserError
from cmi_bench.models.base import EmbeddingModel, InputKind
from cmi_bench.scoring.batching import Runner, ScoreWriter
from cmi_bench.scoring.cached_model import CachedModel
from cmi_bench.scoring.embedding_cache import EmbeddingCache, claim_start
from cmi_bench.scoring.embedding_items import AudioItem, EmbeddingAddresses, KeptForm, TextItem
from cmi_bench.scoring.model_call import ModelCall
from cmi_bench.scoring.requests import clips_of, deduplicate
from cmi_bench.scoring.run_stats import RunStats, clear_stats, collect_stats
from cmi_bench.scoring.stages import EmbedTextStage, LoadedBatch, load_items, work_on
from cmi_bench.scoring.store import FailureLog, FileScoreWriter, ScoreStore
from cmi_bench.training.forecast import Forecast
from cmi_bench.training.shared_audio import SharedAudioStage
from cmi_bench.training_config import EmbeddingForm
from cmi_bench.utils.console import describe_time, some_of
from cmi_bench.utils.distributed import is_rank_zero, process_rank

log = logging.getLogger(__name__)

Item = AudioItem | TextItem


@dataclass
class Embeddable:
    """An audio file or text, and the forms in which its embedding is wanted."""

    item: Item
    """Under the address of the embedding as the model makes it."""
    forms: list[KeptForm] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)
    """The numbers of the rows that need it."""

    @property
    def keys(self) -> list[str]:
        """The addresses of the embedding as the model makes it, and of its forms."""
        return [self.item.key, *(form.key for form in self.forms)]

    def lacking(self, there: Set[str]) -> tuple[KeptForm, ...]:
        """Return the forms that are not there."""
        return tuple(form for form in self.forms if form.key not in there)


class Needs(NamedTuple):
    """What rows need of the cache."""

    needs: list[Embeddable]
    """Each audio file and each text once."""
    unreadable: dict[str, str]
    """Clip id to the reason why its audio cannot be embedded: a file that is not there."""


def needs_of(
    rows: Sequence[Row], call: ModelCall[EmbeddingModel], form: EmbeddingForm, *, root: Path, index: AudioIndex
) -> Needs:
    """Return what rows need.

    Args:
        rows: The rows.
        call: The model, and how much of each clip it looks at.
        form: What is kept of an embedding.
        root: What the rows' audio paths are relative to.
        index: Knows the audio files.
    """
    addresses = EmbeddingAddresses.of(call.model, call.max_dur)
    plan = deduplicate(clips_of(rows, root), call, index)
    inputs = {request.key: addresses.inputs_of(request) for request in plan.requests}
    needs: dict[str, Embeddable] = {}
    for clip_id, key in plan.key_of.items():
        for kind, item in inputs[key].by_kind.items():
            need = needs.setdefault(item.key, Embeddable(item))
            known = {one.key for one in need.forms}
            need.forms += [one for one in _forms(addresses, form, item.key, kind) if one.key not in known]
            need.rows.append(int(clip_id.partition(":")[0]))
    return Needs(list(needs.values()), plan.unreadable)


def _forms(addresses: EmbeddingAddresses, form: EmbeddingForm, key: str, kind: InputKind) -> list[KeptForm]:
    full = [KeptForm(key)] if form is not EmbeddingForm.compact else []
    compact = [KeptForm(addresses.compact(key, kind), kind)] if form is not EmbeddingForm.full else []
    return full + compact


class PoolStage:
    """Makes compact embeddings of what scoring has left."""

    title = "pooling"
    start = 0.0
    decodes = False

    def __init__(self, items: Sequence[Item], model: CachedModel) -> None:
        self.items = items
        self.model = model
        self.stats = model.stats
        self.load = _named

    def pending(self) -> list[Item]:
        """Return what nobody has pooled meanwhile."""
        there = self.model.cache.contains_many(form.key for item in self.items for form in item.forms)
        return [item for item in self.items if any(form.key not in there for form in item.forms)]

    def length(self, item: Item) -> float:
        """Return nothing: no audio is decoded."""
        return 0.0

    def work(self, loaded: LoadedBatch[Item, str], writer: ScoreWriter) -> None:
        """Pool and store."""
        work_on(loaded, self.model.call, lambda part: self.model.pool_stored([item for item, _ in part]), writer)


def _named(items: Sequence[Item]) -> LoadedBatch[Item, str]:
    return load_items(items, lambda item: item.name)


class Failed(NamedTuple):
    """An embedding that could not be made."""

    name: str
    """The file, or the beginning of the text."""
    rows: tuple[int, ...]
    """The numbers of the rows that need it."""
    reason: str

    def __str__(self) -> str:
        rows = f"{'row' if len(self.rows) == 1 else 'rows'} {some_of([str(row) for row in self.rows])}"
        return f"{rows} ({self.name}): {self.reason}" if self.name else f"{rows}: {self.reason}"


@dataclass(frozen=True)
class Filled:
    """What filling came to; on rank 0 only."""

    failed: Sequence[Failed] = ()
    stats: RunStats = field(default_factory=RunStats)
    """Over all ranks."""


def fill(
    rows: Sequence[Row],
    models: Mapping[str, EmbeddingModel],
    runner: Runner,
    *,
    config: Config,
    form: EmbeddingForm,
    cache: EmbeddingCache,
    root: Path,
    index: AudioIndex,
    folder: Path,
) -> Filled:
    """Make the embeddings of rows that the cache lacks; returns in all processes when all are made.

    Args:
        rows: The rows.
        models: What embeds them, on this process's device, each by what to call it; several decode each file once.
        runner: Runs the stages.
        config: `max_dur`, `model_timeout`, `cache.max_gb` and `on_error` count here.
        form: What is kept of an embedding.
        cache: Where it is kept.
        root: What the rows' audio paths are relative to.
        index: Knows the audio files.
        folder: Where processes leave what failed, and counts.

    Raises:
        UserError: An embedding cannot be made and `on_error=fail`; the disk is full; the model takes too long.
        KeyboardInterrupt: The user stopped the run.
    """
    calls = {name: ModelCall(model, config.max_dur, timeout=config.model_timeout) for name, model in models.items()}
    failures, stats = FailureLog(folder, process_rank()), RunStats()
    stop = config.on_error is OnError.fail
    needs = {name: Needs([], {}) for name in calls}
    if is_rank_zero():
        folder.mkdir(parents=True, exist_ok=True)
        failures.clear()
        clear_stats(folder)
        needs = {name: needs_of(rows, call, form, root=root, index=index) for name, call in calls.items()}
        if stop:
            _raise_first(_failed(needs, {}))
        for name, own in needs.items():
            log.info("%s%s", f"{name}: " if len(needs) > 1 else "", describe(own.needs, cache))
    if runner.processes > 1 or any(_lacking(own.needs, cache) for own in needs.values()):
        writer = FileScoreWriter(ScoreStore(folder / "scores"), failures, stop_on_failure=stop, stats=stats)
        parts = [(needs[name].needs, CachedModel(call, cache, stats)) for name, call in calls.items()]
        _make(parts, cache, runner, writer, stats, max_gb=config.cache.max_gb)
    stats.write(folder, process_rank())
    runner.wait("all embeddings are stored")
    if not is_rank_zero():
        return Filled()
    failed = _failed(needs, failures.read())
    if stop:
        _raise_first(failed)
    for own in needs.values():
        _check_complete(own.needs, failures.read(), cache)
    return Filled(failed, collect_stats(folder))


def _make(
    parts: Sequence[tuple[Sequence[Embeddable], CachedModel]],
    cache: EmbeddingCache,
    runner: Runner,
    writer: FileScoreWriter,
    stats: RunStats,
    *,
    max_gb: float,
) -> None:
    with ExitStack() as stack:
        start = stack.enter_context(claim_start(cache.folder)) if is_rank_zero() else 0.0
        audio: list[list[AudioItem]] = []
        for needs, model in parts:
            runner.run(PoolStage(to_pool(needs, cache), model), writer)
            # What is damaged is gone from the cache now, and encoded.
            items = to_encode(needs, cache)
            texts = [item for item in items if isinstance(item, TextItem)]
            runner.run(EmbedTextStage(texts, model, stats), writer)
            audio.append([item for item in items if isinstance(item, AudioItem)])
        forecast = Forecast(list(chain(*audio)), cache, processes=runner.processes, max_gb=max_gb)
        models = [model for _, model in parts]
        runner.run(SharedAudioStage(audio, models, stats, forecast, start=start), writer)
        for model in models:
            model.finish()


def to_pool(needs: Sequence[Embeddable], cache: EmbeddingCache) -> list[Item]:
    """Return what is there as the model made it, and lacks another form."""
    there = _there(needs, cache)
    lacking = [(need.item, need.lacking(there)) for need in needs if need.item.key in there]
    return [replace(item, forms=forms) for item, forms in lacking if forms]


def to_encode(needs: Sequence[Embeddable], cache: EmbeddingCache) -> list[Item]:
    """Return what has to be encoded."""
    there = _there(needs, cache)
    lacking = [(need.item, need.lacking(there)) for need in needs if need.item.key not in there]
    # The last form is the last that is written: where it is, all are.
    return [replace(item, key=forms[-1].key, forms=forms) for item, forms in lacking if forms]


def _there(needs: Sequence[Embeddable], cache: EmbeddingCache) -> set[str]:
    return cache.contains_many(key for need in needs for key in need.keys)


def _lacking(needs: Sequence[Embeddable], cache: EmbeddingCache) -> list[Embeddable]:
    """Return what lacks a form."""
    there = _there(needs, cache)
    return [need for need in needs if need.lacking(there)]


def describe(needs: Sequence[Embeddable], cache: EmbeddingCache) -> str:
    """Return how much there is to do, for people."""
    pool, encode = to_pool(needs, cache), to_encode(needs, cache)
    there = len(needs) - len(pool) - len(encode)
    rows = {row for need in needs for row in need.rows}
    parts = [
        f"{len(rows):,} rows need the embeddings of {_amount([need.item for need in needs])}",
        f"{there:,} of these are there" if there else "",
        f"{len(pool):,} are pooled from what scoring has left" if pool else "",
        f"to encode: {_amount(encode)}" if encode else "nothing is to be encoded",
    ]
    return "; ".join(part for part in parts if part) + "."


def _amount(items: Sequence[Item]) -> str:
    """Return how many files of which length, and how many texts."""
    audio = [item for item in items if isinstance(item, AudioItem)]
    length = describe_time(sum(item.seconds for item in audio))
    return f"{len(audio):,} audio files ({length}) and {len(items) - len(audio):,} texts"


def _failed(needs: Mapping[str, Needs], failures: Mapping[str, str]) -> list[Failed]:
    """Return what failed, and of several models which of them, but where it is the same with all."""
    missing = {clip: reason for own in needs.values() for clip, reason in own.unreadable.items()}
    found = [Failed("", (int(clip.partition(":")[0]),), reason) for clip, reason in missing.items()]
    models: dict[Failed, list[str]] = {}
    for name, own in needs.items():
        for need in own.needs:
            reasons = [failures[key] for key in need.keys if key in failures]
            if reasons:
                failed = Failed(need.item.name, tuple(dict.fromkeys(need.rows)), reasons[0])
                models.setdefault(failed, []).append(name)
    for failed, names in models.items():
        of_whom = f"{', '.join(names)}: " if len(names) < len(needs) else ""
        found.append(failed._replace(reason=of_whom + failed.reason))
    return found


def _raise_first(failed: Sequence[Failed]) -> None:
    if failed:
        raise UserError(
            f"No embedding for {failed[0]}",
            "Fix the file or the model, or use on_error=record to leave such rows out and go on. What was embedded so"
            " far is kept; run the same command again to go on from here.",
        )


def _check_complete(needs: Sequence[Embeddable], failures: Mapping[str, str], cache: EmbeddingCache) -> None:
    lacking = [need for need in _lacking(needs, cache) if not any(key in failures for key in need.keys)]
    if lacking:
        raise RunError(
            f"{len(lacking)} embeddings were not made ({some_of([need.item.name for need in lacking])}).",
            "A process may have died, or another one prunes the cache; run the same command again to go on.",
        )
