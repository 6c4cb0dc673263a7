"""Scoring from embeddings: what is left of a run whose audio and text are in the cache."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from torch import Tensor

from cmi_bench.audio.decode import decode
from cmi_bench.inference.answers import checked_scores
from cmi_bench.inference.embedding_cache import EmbeddingCache
from cmi_bench.inference.embedding_keys import AudioItem, EmbeddingKeys, Needs, TextItem
from cmi_bench.inference.halves import in_halves
from cmi_bench.inference.keeper import Keeper
from cmi_bench.inference.requests import Request
from cmi_bench.inference.score_store import StoredScore
from cmi_bench.inference.tally import Tally
from cmi_bench.models.contract import ALIGNMENT_COLUMN, MUSICALITY_COLUMN, EmbeddedInput, EmbeddingModel


@dataclass
class LoadedEmbeddings:
    """What a batch is scored from."""

    wanted: list[tuple[str, Needs]]
    """Request key, and what the request needs."""
    found: dict[str, list[Tensor]] = field(default_factory=dict)
    """Embeddings by key; one that turned out damaged is not among them."""
    errors: dict[str, str] = field(default_factory=dict)
    """Why a request cannot be answered, by request key."""


@dataclass(frozen=True)
class EmbeddingLoader:
    """Reads embeddings from the cache."""

    cache: EmbeddingCache
    keys: EmbeddingKeys
    failed: Callable[[], dict[str, str]]
    """Why embeddings could not be made in this run, by embedding key."""

    def __call__(self, items: Sequence[Request]) -> LoadedEmbeddings:
        """Read what a batch needs, each embedding once."""
        failed = self.failed()
        loaded = LoadedEmbeddings([])
        for request in items:
            needs = self.keys.needs(request)
            reasons = [failed[key] for key in needs.keys if key in failed]
            if reasons:
                loaded.errors[request.key] = "; ".join(reasons)
                continue
            loaded.wanted.append((request.key, needs))
            for key in needs.keys:
                if key not in loaded.found and (tensors := self.cache.get(key)) is not None:
                    loaded.found[key] = tensors
        return loaded


_Prompt = tuple[str, str, str]


def _prompt(request: Request) -> _Prompt:
    return request.clip.text, request.clip.lyrics, request.ref_audio.digest if request.ref_audio else ""


class HeadStage:
    """Scores embedded clips."""

    title = "scoring"
    start = 0.0

    def __init__(
        self,
        requests: Sequence[Request],
        model: EmbeddingModel,
        keys: EmbeddingKeys,
        *,
        cache: EmbeddingCache,
        keeper: Keeper,
        tally: Tally,
    ) -> None:
        self.model = model
        self.keys = keys
        # Side by side, those with one prompt meet in a batch, for which a model may look at the prompt once.
        self.requests = sorted(requests, key=_prompt)
        self._longest: dict[_Prompt, float] = {}
        for request in requests:
            seconds = request.seconds(keys.max_dur)
            self._longest[_prompt(request)] = max(seconds, self._longest.get(_prompt(request), 0.0))
        self.keeper = keeper
        self.tally = tally
        self.load = EmbeddingLoader(cache, keys, keeper.failures.read)

    def pending(self) -> list[Request]:
        """Return the requests that nothing has answered yet."""
        return list(self.requests)

    def length(self, item: Request) -> float:
        """Return the seconds of audio of the longest request with the same prompt: the plan keeps equals together."""
        return self._longest[_prompt(item)]

    def work(self, loaded: LoadedEmbeddings) -> int:
        """Score, and store what comes back."""
        failed = [self.keeper.fail(key, reason) for key, reason in loaded.errors.items()]
        with self.tally.timed("score"):
            in_halves(
                loaded.wanted,
                lambda part: failed.append(self._score(part, loaded.found)),
                blame=lambda item, reason: failed.append(self.keeper.fail(item[0], reason)),
            )
        return sum(failed)

    def _score(self, part: Sequence[tuple[str, Needs]], found: dict[str, list[Tensor]]) -> int:
        inputs = [self._embedded(needs, found) for _, needs in part]
        rows = checked_scores(self.model.score_embedded(inputs), len(inputs), type(self.model).__name__).tolist()
        return self.keeper.keep(
            StoredScore(key, alignment=row[ALIGNMENT_COLUMN], musicality=row[MUSICALITY_COLUMN])
            for (key, _), row in zip(part, rows, strict=True)
        )

    def _embedded(self, needs: Needs, found: dict[str, list[Tensor]]) -> EmbeddedInput:
        return EmbeddedInput(
            windows=self._audio(needs.audio, found),
            text=self._text(needs.text, found),
            lyrics=self._text(needs.lyrics, found),
            ref_audio=self._audio(needs.ref_audio, found)[0] if needs.ref_audio else None,
        )

    def _audio(self, item: AudioItem, found: dict[str, list[Tensor]]) -> list[Tensor]:
        if item.key not in found:  # its entry was damaged, or pruned meanwhile: made anew, never believed
            seconds = self.keys.views[item.is_reference].seconds
            waveform = decode(item.path, int(self.model.sr), seconds)
            (found[item.key],) = self.model.embed_audio([waveform], self.keys.max_dur, is_reference=item.is_reference)
            self._put(item.key, found[item.key])
            self.tally.counts["chunks_encoded"] += item.chunks
        return found[item.key]

    def _text(self, item: TextItem, found: dict[str, list[Tensor]]) -> Tensor:
        if item.key not in found:
            found[item.key] = self.model.embed_texts([item.text])
            self._put(item.key, found[item.key])
            self.tally.counts["texts_encoded"] += 1
        return found[item.key][0]

    def _put(self, key: str, tensors: Sequence[Tensor]) -> None:
        self.load.cache.put(key, tensors)
