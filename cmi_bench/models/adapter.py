"""Classes that look like a reward model and inherit from nothing, and those written for the public scripts.

`adapt` wraps such a model once, where it enters the benchmark; whatever is optional in the contract is the model's own
where it has it, and the contract's default where it has not.
"""

import sys
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from types import ModuleType
from typing import TYPE_CHECKING, Any

from cmi_bench.errors import UserError
from cmi_bench.models.base import (
    AudioView,
    BenchmarkBatchInput,
    BenchmarkModelABC,
    EmbeddedInput,
    EmbeddingModel,
    InputKind,
    LabelledRow,
    WorkAhead,
)

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from torch import Tensor, nn

PUBLIC_MODULE = "core.model_abc"
"""Where the public repository has the contract."""
_PUBLIC_PACKAGE = PUBLIC_MODULE.partition(".")[0]

REQUIRED = ("sr", "score_batch")
EMBEDDING = (
    "identity", "audio_identity", "text_identity", "audio_view", "embed_audio", "embed_texts", "score_embedded",
)  # fmt: skip
POOLING = ("pooling", "pool")
REMOTE = ("clips_at_once", "prepare", "finish")


def adapt(model: Any, name: str = "") -> BenchmarkModelABC:
    """Return a model with all members of the contract: the model itself if it inherits from the contract.

    Args:
        model: An object with `sr` and `score_batch`.
        name: Its name in messages; its class by default.

    Raises:
        UserError: It lacks one of the two.
    """
    lacking = [member for member in REQUIRED if not hasattr(model, member)]
    if lacking or not callable(model.score_batch):
        raise UserError(
            f"{name or type(model).__name__} is no reward model: it has no {' and no '.join(lacking or REQUIRED[1:])}.",
            "A model has a property sr (Hz) and a method score_batch(inputs, batch_size, max_dur, **kwargs).",
        )
    embeds = all(hasattr(model, member) for member in EMBEDDING)
    if isinstance(model, EmbeddingModel) or (isinstance(model, BenchmarkModelABC) and not embeds):
        return model
    return AdaptedEmbeddingModel(model) if embeds else AdaptedModel(model)


class AdaptedModel(BenchmarkModelABC):
    """A wrapped model: its own members, and the contract's defaults for those that it lacks."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self.audio_input = getattr(model, "audio_input", self.audio_input)
        self.unused_inputs = frozenset(getattr(model, "unused_inputs", ()))
        self.needs_labels = getattr(model, "needs_labels", hasattr(model, "bind_rows"))
        self.is_deterministic = getattr(model, "is_deterministic", True)
        self._is_remote = all(hasattr(model, member) for member in REMOTE)

    @property
    def implementation(self) -> Any:
        """The wrapped model."""
        return self._model

    @property
    def sr(self) -> int:
        """Sampling rate in Hz of the waveforms the model takes."""
        return self._model.sr  # type: ignore[no-any-return]

    @property
    def identity(self) -> str | None:
        """What settles a score besides the clip and `max_dur`, where the model has one."""
        return getattr(self._model, "identity", None)

    @property
    def digest(self) -> str | None:
        """Digest of the weights, where the model has one."""
        return getattr(self._model, "digest", None)

    @property
    def facts(self) -> Mapping[str, Any]:
        """Plain values for the run's metadata, where the model has some."""
        return getattr(self._model, "facts", {})

    @property
    def projections(self) -> "Mapping[str, nn.Linear]":
        """The last linear layers, where the model names them."""
        return getattr(self._model, "projections", {})

    @cached_property
    def clips_at_once(self) -> int | None:
        """How many clips it would like in one call, where it is remote."""
        return self._model.clips_at_once if self._is_remote else None

    def score_batch(
        self, inputs: Sequence[BenchmarkBatchInput], batch_size: int, max_dur: float, **kwargs: Any
    ) -> "npt.NDArray[np.floating[Any]]":
        """Score clips; see `BenchmarkModelABC.score_batch`."""
        return self._model.score_batch(inputs, batch_size, max_dur, **kwargs)  # type: ignore[no-any-return]

    def bind_rows(self, rows: Iterable[LabelledRow]) -> None:
        """Pass on the rows to a model that takes them."""
        if self.needs_labels:
            self._model.bind_rows(rows)

    def prepare(self, work: WorkAhead) -> None:
        """Pass on what is coming; see `BenchmarkModelABC.prepare`."""
        self._model.prepare(work)

    def finish(self) -> None:
        """Pass on that nothing more is coming."""
        self._model.finish()


class AdaptedEmbeddingModel(AdaptedModel, EmbeddingModel):
    """A wrapped model that embeds."""

    def __init__(self, model: Any) -> None:
        super().__init__(model)
        self.is_common_space = bool(getattr(model, "is_common_space", self.is_common_space))
        self.embeds_on_device = bool(getattr(model, "embeds_on_device", self.embeds_on_device))
        self._pools = all(hasattr(model, member) for member in POOLING)

    @property
    def encoders(self) -> "Sequence[nn.Module]":
        """The networks that alone make the embeddings, where the model names them."""
        return getattr(self._model, "encoders", ())

    @property
    def identity(self) -> str:
        """What settles a score besides the clip and `max_dur`."""
        return self._model.identity  # type: ignore[no-any-return]

    @property
    def audio_identity(self) -> str:
        """What settles an audio embedding besides the audio and its view."""
        return self._model.audio_identity  # type: ignore[no-any-return]

    @property
    def text_identity(self) -> str:
        """What settles a text embedding besides the text."""
        return self._model.text_identity  # type: ignore[no-any-return]

    def audio_view(self, max_dur: float, *, is_reference: bool) -> AudioView:
        """Return which part of a clip is used."""
        return self._model.audio_view(max_dur, is_reference=is_reference)  # type: ignore[no-any-return]

    def embed_audio(self, waveforms: "Sequence[Tensor]", max_dur: float, *, is_reference: bool) -> "list[list[Tensor]]":
        """Embed waveforms."""
        return self._model.embed_audio(waveforms, max_dur, is_reference=is_reference)  # type: ignore[no-any-return]

    def embed_texts(self, texts: Sequence[str]) -> "list[Tensor]":
        """Embed prompts or lyrics."""
        return self._model.embed_texts(texts)  # type: ignore[no-any-return]

    def score_embedded(self, clips: Sequence[EmbeddedInput]) -> "npt.NDArray[np.floating[Any]]":
        """Score embedded clips."""
        return self._model.score_embedded(clips)  # type: ignore[no-any-return]

    def pooling(self, kind: InputKind) -> str:
        """Return what `pool` does, where the model has the two."""
        return self._model.pooling(kind) if self._pools else super().pooling(kind)

    def pool(self, embedding: "Tensor", kind: InputKind) -> "Tensor":
        """Shorten an embedding, where the model does."""
        return self._model.pool(embedding, kind) if self._pools else super().pool(embedding, kind)


def is_public_name(module: str | None) -> bool:
    """Whether a module that was not found is the public contract's."""
    return module in (_PUBLIC_PACKAGE, PUBLIC_MODULE)


def provide_public_names() -> None:
    """Make `from core.model_abc import BenchmarkBatchInput, BenchmarkModelABC` give the contract's own."""
    contract = ModuleType(PUBLIC_MODULE, "The benchmark's contract, under its name in the public repository.")
    vars(contract).update(BenchmarkBatchInput=BenchmarkBatchInput, BenchmarkModelABC=BenchmarkModelABC)
    package = sys.modules.setdefault(_PUBLIC_PACKAGE, ModuleType(_PUBLIC_PACKAGE))
    vars(package).setdefault("__path__", [])
    vars(package)["model_abc"] = contract
    sys.modules[PUBLIC_MODULE] = contract
