"""What training reads of rows: the compact embeddings of their clips, from the cache.

A compact embedding is what the frozen model yields after the pooling without parameters that its head begins with, for
each window, in float16. `task=embed` makes them (`training.filling`).
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from cmi_bench.audio.decode import is_finite
from cmi_bench.data.audio_info import AudioIndex
from cmi_bench.data.rows import Row
from cmi_bench.errors import UserError
from cmi_bench.models.base import EmbeddedInput, EmbeddingModel, InputKind, UnusedInput
from cmi_bench.scoring.embedding_cache import GIGABYTE, EmbeddingCache
from cmi_bench.scoring.embedding_items import EmbeddingAddresses
from cmi_bench.utils.installation import command_line


class _Part(NamedTuple):
    """One embedding that a row needs."""

    key: str
    name: str
    """The file, or what the text is, for messages."""


class _ClipParts(NamedTuple):
    """What a clip is scored from."""

    audio: _Part
    text: _Part
    lyrics: _Part
    ref_audio: _Part | None


class TrainingEmbeddings:
    """Reads the compact embeddings of rows.

    It holds no model, and can be sent to the workers of a data loader. What a process has read it keeps in memory, up
    to a bound.
    """

    def __init__(
        self,
        addresses: EmbeddingAddresses,
        cache: EmbeddingCache,
        *,
        root: Path,
        digests: Mapping[Path, str],
        unused_inputs: frozenset[UnusedInput] = frozenset(),
        memory_gb: float = 0.0,
    ) -> None:
        """Say where they are.

        Args:
            addresses: Of the model's embeddings.
            cache: Where they are.
            root: What the rows' audio paths are relative to.
            digests: SHA-256 of the rows' audio files; a file that is not there has none.
            unused_inputs: What the model does not look at.
            memory_gb: What is kept in memory at most, in 10^9 bytes.
        """
        self.addresses = addresses
        self.cache = cache
        self.root = root
        self.digests = digests
        self.unused_inputs = unused_inputs
        self._memory = _Memory(memory_gb * GIGABYTE)

    @classmethod
    def of(
        cls,
        model: EmbeddingModel,
        rows: Iterable[Row],
        *,
        max_dur: float,
        cache: EmbeddingCache,
        root: Path,
        index: AudioIndex,
        memory_gb: float = 0.0,
    ) -> "TrainingEmbeddings":
        """Return the embeddings of rows by a model.

        Args:
            model: The frozen model.
            rows: All rows that will be read.
            max_dur: Seconds of each clip that are looked at.
            cache: Where the embeddings are.
            root: What the rows' audio paths are relative to.
            index: Knows the audio files.
            memory_gb: What is kept in memory at most, in 10^9 bytes.
        """
        digests: dict[Path, str] = {}
        for path in dict.fromkeys(root / name for row in rows for name in row.audio_files):
            try:
                digests[path] = index.facts(path).digest
            except OSError:  # a file that is not there has no embedding either, which `missing` tells
                continue
        return cls(
            EmbeddingAddresses.of(model, max_dur),
            cache,
            root=root,
            digests=digests,
            unused_inputs=model.unused_inputs,
            memory_gb=memory_gb,
        )

    def read(self, row: Row) -> list[EmbeddedInput]:
        """Return the embedded clips of a row: one, or A and B, which share text, lyrics and reference.

        Their tensors are ordinary ones (no tensors of PyTorch's inference mode), which can be trained with.

        Raises:
            UserError: An embedding is not there, is damaged, or holds NaN or infinite numbers.
        """
        found: dict[str, list[Tensor]] = {}

        def tensors(part: _Part) -> list[Tensor]:
            if part.key not in found:
                found[part.key] = self._read(part, row)
            return found[part.key]

        return [
            EmbeddedInput(
                windows=tensors(clip.audio),
                text=tensors(clip.text)[0],
                lyrics=tensors(clip.lyrics)[0],
                ref_audio=tensors(clip.ref_audio)[0] if clip.ref_audio else None,
            )
            for clip in self._clips(row)
        ]

    def missing(self, rows: Iterable[Row]) -> list[Row]:
        """Return the rows of which an embedding is not there, in their order."""
        asked = [(row, self._keys(row)) for row in rows]
        there = self.cache.contains_many(key for _, keys in asked for key in keys)
        return [row for row, keys in asked if not there.issuperset(keys)]

    def size(self, rows: Iterable[Row]) -> int:
        """Return how many bytes the embeddings of rows take, those that several share once."""
        return self.cache.size_of(key for row in rows for key in self._keys(row))

    def _keys(self, row: Row) -> list[str]:
        """Return the addresses of all that a row needs."""
        return [part.key for clip in self._clips(row) for part in clip if part is not None]

    def _clips(self, row: Row) -> list[_ClipParts]:
        unused = self.unused_inputs
        text = self._text("" if "text" in unused else row.prompt, "text")
        lyrics = self._text("" if "lyrics" in unused else row.lyrics, "lyrics")
        used = row.ref_audio if "ref_audio" not in unused else None
        reference = self._audio(used, "ref_audio") if used else None
        return [
            _ClipParts(self._audio(name, "audio"), text, lyrics, reference)
            for name in (row.audio_a, row.audio_b)
            if name is not None
        ]

    def _audio(self, name: str, kind: InputKind) -> _Part:
        path = self.root / name
        digest = self.digests.get(path)
        if digest is None:
            return _Part(_NO_FILE, str(path))
        key = self.addresses.audio(digest, is_reference=kind == "ref_audio")
        return _Part(self.addresses.compact(key, kind), str(path))

    def _text(self, text: str, kind: InputKind) -> _Part:
        return _Part(self.addresses.compact(self.addresses.text(text), kind), f"its {kind}")

    def _read(self, part: _Part, row: Row) -> list[Tensor]:
        if (kept := self._memory.get(part.key)) is not None:
            return kept
        # Validation runs in inference mode, and what it reads is kept for training.
        with torch.inference_mode(False):
            tensors = self.cache.get(part.key)
        if tensors is None:
            raise UserError(f"Row {row.index}: the embedding of {part.name} is not in the cache, or damaged.", _MAKE)
        if not all(map(is_finite, tensors)):
            self.cache.discard(part.key)
            raise UserError(
                f"Row {row.index}: the embedding of {part.name} held NaN or infinite numbers, and was removed.",
                f"{_MAKE} Leave the row out if the model makes it so again.",
            )
        self._memory.put(part.key, tensors)
        return tensors


_NO_FILE = ""
"""Instead of the address of an embedding: the file is not there."""
_MAKE = f"{command_line('task=embed')} with the same model, data and max_dur makes what is missing."


class _Memory:
    """The tensors that were read first, up to a number of bytes.

    Nothing makes room for others: training goes over all rows before it comes back to one, so that what was used last
    is what is needed last.
    """

    def __init__(self, most: float) -> None:
        self.room = most
        self._kept: dict[str, list[Tensor]] = {}

    def get(self, key: str) -> list[Tensor] | None:
        return self._kept.get(key)

    def put(self, key: str, tensors: Sequence[Tensor]) -> None:
        size = sum(tensor.nbytes for tensor in tensors)
        if size <= self.room:
            self._kept[key] = list(tensors)
            self.room -= size
