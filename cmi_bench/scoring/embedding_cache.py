"""Embeddings on disk, by what was embedded and by which encoder; and a model that looks there before it encodes.

`EmbeddingCache` is the folder. `CachedModel` wraps an embedding model, has its methods, and encodes nothing twice.
Processes that fill one cache at the same time share the work: each begins elsewhere (`claim_start`) and passes over
what is there. Nobody waits for another; at most the batch that two are at in the same moment is encoded twice.
"""

import contextlib
import hashlib
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import torch
from filelock import FileLock, Timeout
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from cmi_bench.audio.decode import AudioError, decode
from cmi_bench.models.base import EmbeddedInput, EmbeddingModel
from cmi_bench.scoring.embedding_items import COMPACT, AudioItem, EmbeddingAddresses, KeptForm, TextItem
from cmi_bench.scoring.model_call import ModelCall, read_answer
from cmi_bench.scoring.store import RunStats
from cmi_bench.types import Score
from cmi_bench.utils.files import write_bytes_atomic, writing_to

log = logging.getLogger(__name__)


SUFFIX = ".safetensors"
DIGEST_BYTES = 32
GIGABYTE = 10**9
HALF_ERROR = 2**-10
"""Share of an embedding's norm that may be lost by its rounding to float16, which in its range loses 2^-11 at most."""


class CacheSize(NamedTuple):
    """What a cache holds."""

    entries: int
    bytes: int


class EmbeddingCache:
    """A folder of content-addressed entries, each a list of tensors.

    An entry's file is the SHA-256 of its address and its contents, followed by these: a safetensors
    document. It appears under its name only when it is whole, and is checked whenever it is read: one
    that is damaged, or belongs under another name, is removed and made anew. Any number of processes
    may use one folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __contains__(self, key: str) -> bool:
        return self.path(key).is_file()

    def path(self, key: str) -> Path:
        """Return where an entry is or would be."""
        return self.folder / key[:2] / f"{key}{SUFFIX}"

    def put(self, key: str, tensors: Sequence[Tensor]) -> int:
        """Write an entry, whole or not at all.

        Args:
            key: Its content address.
            tensors: At least one; stored as they are, on the CPU.

        Returns:
            Its size in bytes.

        Raises:
            OSError: No space, or the folder cannot be written.
        """
        document = save({str(index): tensor.detach().cpu().contiguous() for index, tensor in enumerate(tensors)})
        content = _entry_digest(key, document) + document
        write_bytes_atomic(self.path(key), content, sync=False)
        return len(content)

    def get(self, key: str) -> list[Tensor] | None:
        """Return an entry's tensors, None where there is no entry or a damaged one, which is removed."""
        path = self.path(key)
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return None
        tensors = _checked(key, content)
        if tensors is None:
            log.warning("The cache entry %s is damaged, or another one's, and is made anew.", path)
            path.unlink(missing_ok=True)
            return None
        # Eviction goes by the time of the last use.
        with contextlib.suppress(FileNotFoundError):
            os.utime(path)
        return [tensors[str(index)] for index in range(len(tensors))]

    def size(self, *, compact: bool | None = None) -> CacheSize:
        """Count the entries and their bytes.

        Args:
            compact: Only of what training reads, or only of what scoring reads; None for all.
        """
        sizes = [
            status.st_size
            for path, status in self._entries()
            if compact is None or path.stem.endswith(COMPACT) is compact
        ]
        return CacheSize(len(sizes), sum(sizes))

    def prune(self, max_gb: float) -> CacheSize:
        """Remove the entries that were not used for longest until the rest fits.

        Args:
            max_gb: Size to stay under, in 10^9 bytes; 0 empties the cache.

        Returns:
            What was removed.
        """
        entries = sorted(self._entries(), key=lambda entry: entry[1].st_mtime)
        total = sum(status.st_size for _, status in entries)
        removed, freed = 0, 0
        for path, status in entries:
            if total - freed <= max_gb * GIGABYTE:
                break
            path.unlink(missing_ok=True)
            removed, freed = removed + 1, freed + status.st_size
        return CacheSize(removed, freed)

    def _entries(self) -> Iterator[tuple[Path, os.stat_result]]:
        for path in self.folder.glob(f"??/*{SUFFIX}"):
            with contextlib.suppress(FileNotFoundError):  # another process pruned it
                yield path, path.stat()


def is_finite(tensor: Tensor) -> bool:
    """Tell whether a tensor holds neither NaN nor infinity; `isfinite` takes 15 times as long on the CPU."""
    return not tensor.numel() or all(bool(bound.isfinite()) for bound in tensor.aminmax())


def _entry_digest(key: str, document: bytes) -> bytes:
    whole = hashlib.sha256(key.encode())
    whole.update(document)
    return whole.digest()


def _checked(key: str, content: bytes) -> Mapping[str, Tensor] | None:
    digest, document = content[:DIGEST_BYTES], content[DIGEST_BYTES:]
    if _entry_digest(key, document) != digest:
        return None
    try:
        tensors: dict[str, Tensor] = load(document)
    except SafetensorError:  # written by something else under our name
        return None
    return {name: torch.as_tensor(tensor) for name, tensor in tensors.items()}


class CachedModel:
    """An embedding model that looks up before it encodes, and stores what it encodes.

    Its methods are those of `EmbeddingModel`, but audio is named by its file (`AudioItem`): of a file whose embedding
    is stored, nothing is decoded.
    """

    def __init__(self, call: ModelCall[EmbeddingModel], cache: EmbeddingCache, stats: RunStats) -> None:
        """Wrap a model.

        Args:
            call: The model, on this process's device, and what it is told.
            cache: Where embeddings are looked up and stored.
            stats: Counts what is encoded.
        """
        self.call = call
        self.cache = cache
        self.sr = int(call.model.sr)
        self.addresses = EmbeddingAddresses.of(call.model, call.max_dur)
        self._stats = stats

    def embed_audio(
        self, items: Sequence[AudioItem], waveforms: Mapping[str, Tensor] | None = None
    ) -> list[list[Tensor]]:
        """Return of each file its windows' frames [time, dim]: from the cache, or encoded and stored.

        Args:
            items: The files.
            waveforms: Those that are decoded already, by key; the others are decoded where that is needed.

        Raises:
            AudioError: A file cannot be decoded.
            RunError: The disk is full.
        """
        decoded = waveforms or {}
        found = {item.key: tensors for item in items if (tensors := self.cache.get(item.key)) is not None}
        for is_reference in (False, True):
            lacking = [item for item in items if item.is_reference is is_reference and item.key not in found]
            if not lacking:
                continue
            audio = [
                decoded[item.key]
                if item.key in decoded
                else decode(item.path, self.sr, self.addresses.views[is_reference].seconds)
                for item in lacking
            ]
            embedded = self.call.model.embed_audio(audio, self.call.max_dur, is_reference=is_reference)
            found |= self._stored(lacking, embedded)
            self._stats.counts["files_encoded"] += len(lacking)
            self._stats.counts["chunks_encoded"] += sum(item.chunks for item in lacking)
        return [found[item.key] for item in items]

    def embed_texts(self, items: Sequence[TextItem]) -> list[Tensor]:
        """Return of each text its tokens [tokens, dim]: from the cache, or encoded and stored.

        Raises:
            RunError: The disk is full.
        """
        found = {item.key: tensors for item in items if (tensors := self.cache.get(item.key)) is not None}
        lacking = [item for item in items if item.key not in found]
        if lacking:
            embedded = self.call.model.embed_texts([item.text for item in lacking])
            found |= self._stored(lacking, [[tokens] for tokens in embedded])
            self._stats.counts["texts_encoded"] += len(lacking)
        return [found[item.key][0] for item in items]

    def pool_stored(self, items: Sequence[AudioItem | TextItem]) -> None:
        """Make the items' forms of what is stored under their keys; what is damaged there is passed over.

        Raises:
            AudioError: See `embed_audio`.
            RunError: The disk is full.
        """
        for item in items:
            if (tensors := self.cache.get(item.key)) is not None:
                self._stored([item], [tensors])
                self._stats.counts["pooled"] += 1

    def _stored(
        self, items: Sequence[AudioItem | TextItem], embedded: Sequence[Sequence[Tensor]]
    ) -> dict[str, list[Tensor]]:
        """Store embeddings in the forms that are asked for; return them as they are.

        Raises:
            AudioError: Of an item, numbers that no head could be trained on; the others are stored.
        """
        broken = None
        with writing_to(self.cache.folder, instead="set cache.dir to another disk"):
            for item, tensors in zip(items, embedded, strict=True):
                if item.forms and not all(map(is_finite, tensors)):
                    broken = item
                    continue
                for form in item.forms or (KeptForm(item.key),):
                    size = self.cache.put(form.key, [self._formed(tensor, form) for tensor in tensors])
                    self._stats.counts["bytes_stored"] += size
        if broken is not None:
            raise AudioError(f"The embedding of {broken.name} holds NaN or infinite numbers.", "Does its audio?")
        return {item.key: list(tensors) for item, tensors in zip(items, embedded, strict=True)}

    def _formed(self, tensor: Tensor, form: KeptForm) -> Tensor:
        if form.kind is None:
            return tensor
        pooled = self.call.model.pool(tensor, form.kind).float()
        half = pooled.half()
        if is_finite(half) and (half - pooled).norm() <= HALF_ERROR * pooled.norm():
            return half
        self._stats.counts["kept_in_float32"] += 1  # of values beyond its range float16 makes infinity or zero
        return pooled

    def score_embedded(self, clips: Mapping[str, EmbeddedInput]) -> dict[str, Score]:
        """Score embedded clips, by their requests' keys; see `ModelCall.score`."""
        answer = self.call.model.score_embedded(list(clips.values()))
        return read_answer(list(clips), answer, self.call.model.class_name)


MAX_FILLERS = 64


@contextmanager
def claim_start(folder: Path) -> Iterator[float]:
    """Yield where in its plan this process begins: at 0 if it is alone, else 1/2, 1/4, 3/4, 1/8, ...

    Args:
        folder: The cache; the place is free again when the process ends, however it ends.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(MAX_FILLERS):
        lock = FileLock(folder / f"filler{number}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            continue
        except (OSError, NotImplementedError):  # a file system without locks: then all begin at the start
            break
        try:
            yield spread(number)
        finally:
            lock.release()
        return
    yield 0.0


def spread(number: int) -> float:
    """Return the place of number 0, 1, 2, ...: each in the middle of the widest gap (van der Corput's sequence).

    >>> [spread(number) for number in range(5)]
    [0.0, 0.5, 0.25, 0.75, 0.125]
    """
    place, width = 0.0, 0.5
    while number:
        number, bit = divmod(number, 2)
        place, width = place + bit * width, width / 2
    return place
