"""Heads: small networks from pooled embeddings to the two scores. They are what training trains.

A head reads what a frozen backbone makes of a clip, its prompt, its lyrics and its reference audio. Alignment is about
how these go together, which no sum of functions of each of them can tell: the heads here see products of clip and
prompt.
"""

import inspect
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, cast, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cmi_bench.errors import UserError
from cmi_bench.models.base import ALIGNMENT_COLUMN, EmbeddedInput, EmbeddingModel, UnusedInput
from cmi_bench.models.batching import pad
from cmi_bench.models.muq.transformer import attend, split_heads
from cmi_bench.models.registry import construct, load_class, target_of

DROPPABLE: tuple[UnusedInput, ...] = get_args(UnusedInput)
"""Inputs that modality dropout may replace by a learned null embedding."""
PARTS = ("audio", *DROPPABLE)
"""The inputs of a head, as in `EmbeddedInput`; "audio" is a window of the clip."""
MOST_DEVIATIONS = 8.0
"""Standardised values are cut off here, so that a clip unlike all of the training rows has no score without bounds."""
CONSTANT = 1e-6
"""A component whose standard deviation over the training rows is below this part of its size is left out."""
FIRST_WEIGHTS = 0.01
"""The last layer's weights at the start, as a part of the usual ones."""


class Widths(NamedTuple):
    """Widths of the embeddings that a head reads; 0 for an input that it does not read."""

    audio: int
    text: int = 0
    lyrics: int = 0
    ref_audio: int = 0

    @classmethod
    def of(cls, clips: Iterable[EmbeddedInput], unused: frozenset[UnusedInput] = frozenset()) -> "Widths":
        """Return the widths that embeddings have.

        Args:
            clips: Embeddings of the training rows; what none of them has is not read.
            unused: What the backbone does not embed in earnest.

        Raises:
            UserError: There are no clips.
        """
        found = dict.fromkeys(PARTS, 0)
        for clip in clips:
            for part in PARTS:
                if part not in unused:
                    found[part] = max([found[part], *(one.shape[1] for one in _tensors(clip, part) if len(one))])
        if not found["audio"]:
            raise UserError("There is no embedding to build a head for.", "Choose rows that have audio.")
        return cls(**found)


def _tensors(clip: EmbeddedInput, part: str) -> list[Tensor]:
    if part == "audio":
        return list(clip.windows)
    tensor: Tensor | None = getattr(clip, part)
    return [] if tensor is None else [tensor]


class Head(nn.Module, ABC):
    """From pooled embeddings to the two scores; a clip's scores depend on no other clip."""

    widths: Widths
    settings: dict[str, Any]
    """The constructor's keywords, plain values: with `widths` and the tensors all there is to know."""

    def forward(self, clips: Sequence[EmbeddedInput], dropped: Sequence[frozenset[UnusedInput]] = ()) -> Tensor:
        """Score clips.

        Args:
            clips: Pooled embeddings, of any float type, on the head's device; sequences [length, dim] of any length.
            dropped: Of each clip the inputs that are replaced by learned null embeddings; empty for none at all.

        Returns:
            float32 [N, 2], column 0 alignment, column 1 musicality: means over the clip's windows.
        """
        none: frozenset[UnusedInput] = frozenset()
        counts = [len(clip.windows) for clip in clips]
        windows = [
            Window(window, clip, drop)
            for clip, drop in zip(clips, dropped or [none] * len(clips), strict=True)
            for window in clip.windows
        ]
        scores = self.score_windows(windows)
        return torch.stack([rows.mean(dim=0) for rows in torch.split(scores, counts)])

    @property
    @abstractmethod
    def projection(self) -> nn.Linear:
        """The last layer, whose two rows give the scores."""

    @property
    def unused_inputs(self) -> frozenset[UnusedInput]:
        """What the scores do not depend on."""
        return frozenset(part for part in DROPPABLE if not getattr(self.widths, part))

    @abstractmethod
    def score_windows(self, windows: Sequence["Window"]) -> Tensor:
        """Score windows of clips: float32 [len(windows), 2]."""

    def fit_statistics(self, clips: Sequence[EmbeddedInput]) -> None:
        """Take means and standard deviations of the inputs from the training rows; for a head that standardises.

        Raises:
            UserError: An embedding holds NaN or infinity.
        """


class Window(NamedTuple):
    """One window of a clip, with the clip's instruction."""

    audio: Tensor
    """[length, dim]."""
    clip: EmbeddedInput
    dropped: frozenset[UnusedInput]

    def part(self, name: str) -> Tensor | None:
        """Return one of `PARTS` [length, dim]; None where it is absent, empty or dropped."""
        tensor = self.audio if name == "audio" else getattr(self.clip, name)
        return None if tensor is None or not len(tensor) or name in self.dropped else tensor


class Standardize(nn.Module):
    """Components to mean 0 and standard deviation 1 over the training rows, within bounds; constant ones to 0."""

    mean: Tensor
    factor: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("factor", torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        """Map [..., width] to the same shape, float32."""
        return ((x.float() - self.mean) * self.factor).clamp(-MOST_DEVIATIONS, MOST_DEVIATIONS)

    def fit(self, vectors: Tensor) -> None:
        """Take the statistics of vectors [n, width]; of fewer than two the deviations stay 1."""
        values = vectors.double()
        if not values.numel():
            return
        self.mean.copy_(values.mean(dim=0))
        if len(values) > 1:
            deviation = values.std(dim=0)
            varies = deviation > CONSTANT * values.abs().amax(dim=0)
            self.factor.copy_(torch.where(varies, 1 / deviation, 0.0))


class PooledHead(Head):
    """A vector of each input, their products, and what makes two scores of them; the base of the small heads.

    Of each input one vector is made (`pool`), standardised by the training rows. Of clip and prompt, lyrics and
    reference the products of two learned projections [rank] are taken, a bilinear form of low rank. Cosines are
    taken where they mean something: of clip and reference, and in a common space of clip and prompt, which is that
    backbone's own score. An absent input is a learned null vector, as is one that is dropped.

    Training begins where these cosines are the alignment, and all else says next to nothing: with few rows a head does
    not lose among hundreds of components what is known beforehand.
    """

    def __init__(
        self,
        widths: Widths,
        generator: torch.Generator,
        *,
        rank: int,
        hidden: Sequence[int],
        dropout: float,
        common_space: bool,
    ) -> None:
        """Make the layers.

        Args:
            widths: Of the embeddings.
            generator: Of the initial weights.
            rank: Products of clip and prompt, and of clip and lyrics, and of clip and reference.
            hidden: Widths of the hidden layers; none makes the scores linear in vectors and products.
            dropout: Share of the hidden units that are left out in training.
            common_space: Whether embeddings of audio and text lie in one space.
        """
        super().__init__()
        _check_sizes(rank=rank, hidden=hidden, dropout=dropout)
        self.widths = widths
        self.settings = {"rank": rank, "hidden": list(hidden), "dropout": dropout, "common_space": common_space}
        self.sides = [part for part in DROPPABLE if getattr(widths, part)]
        sizes = {part: self.pooled_width(part) for part in ("audio", *self.sides)}
        self.standardize = nn.ModuleDict({part: Standardize(size) for part, size in sizes.items()})
        self.null = nn.ParameterDict({part: nn.Parameter(torch.zeros(sizes[part])) for part in self.sides})
        self.of_clip = nn.ModuleDict({part: nn.Linear(sizes["audio"], rank) for part in self.sides})
        self.of_side = nn.ModuleDict({part: nn.Linear(sizes[part], rank) for part in self.sides})
        self.common_space = common_space
        alike = ("ref_audio", "text", "lyrics") if common_space else ("ref_audio",)
        self.with_cosine = [part for part in self.sides if part in alike and getattr(widths, part) == widths.audio > 1]
        self.cosine_scale = Standardize(len(self.with_cosine))
        width = sum(sizes.values()) + rank * len(self.sides) + len(self.with_cosine)
        layers: list[nn.Module] = []
        for size in hidden:
            layers += [nn.Linear(width, size), nn.GELU(), nn.Dropout(dropout)]
            width = size
        self.trunk = nn.Sequential(*layers, nn.Linear(width, 2))
        initialize(self, generator)
        with torch.no_grad():
            cast(nn.Linear, self.trunk[-1]).weight.mul_(FIRST_WEIGHTS)
        self.of_cosines = nn.Parameter(torch.zeros(2, len(self.with_cosine)))
        nn.init.ones_(self.of_cosines[ALIGNMENT_COLUMN])

    @property
    def projection(self) -> nn.Linear:
        """The last layer."""
        return cast(nn.Linear, self.trunk[-1])

    def pooled_width(self, part: str) -> int:
        """Return the width of the vector of an input."""
        return cast(int, getattr(self.widths, part))

    def pool(self, part: str, sequences: Sequence[Tensor]) -> Tensor:
        """Return of sequences [length, dim], none of them empty, one standardised vector each: [n, width]."""
        return self.standardized(part, _means(sequences))

    def standardized(self, part: str, values: Tensor) -> Tensor:
        """Return values of an input [..., width] as the training rows have them standardised."""
        return cast(Tensor, self.standardize[part](values))

    def score_windows(self, windows: Sequence[Window]) -> Tensor:
        """Score windows of clips: float32 [len(windows), 2]."""
        vectors = {part: self._vectors(part, windows) for part in self.standardize}
        products = [self.of_clip[part](vectors["audio"]) * self.of_side[part](vectors[part]) for part in self.sides]
        cosines: Tensor = self.cosine_scale(self._cosines(windows))
        scores: Tensor = self.trunk(torch.cat([*vectors.values(), *products, cosines], dim=1))
        return scores + cosines @ self.of_cosines.T

    def _vectors(self, part: str, windows: Sequence[Window]) -> Tensor:
        """Return [len(windows), width], a null vector where a window lacks the input."""
        found = {place: one for place, window in enumerate(windows) if (one := window.part(part)) is not None}
        if len(found) == len(windows):
            return self.pool(part, list(found.values()))
        null: Tensor = self.null[part]
        rows = null.expand(len(windows), -1)
        if not found:
            return rows
        places = torch.tensor(list(found), device=null.device)
        return rows.index_copy(0, places, self.pool(part, list(found.values())))

    def _cosines(self, windows: Sequence[Window]) -> Tensor:
        """Return the cosines of the means of clip and other inputs [len(windows), n], 0 where an input is absent."""
        audio = _means([window.audio for window in windows])
        cosines = audio.new_zeros(len(windows), len(self.with_cosine))
        for column, part in enumerate(self.with_cosine):
            found = {place: one for place, window in enumerate(windows) if (one := window.part(part)) is not None}
            if found:
                places = list(found)
                pair = (audio[places], _means(list(found.values())))
                if not self.common_space:  # components of all scales count alike
                    pair = (self.standardized("audio", pair[0]), self.standardized("audio", pair[1]))
                cosines[places, column] = F.cosine_similarity(*pair)
        return cosines

    @torch.no_grad()
    def fit_statistics(self, clips: Sequence[EmbeddedInput]) -> None:
        """Take means and standard deviations of the inputs, and of the cosines, from the training rows.

        Raises:
            UserError: An embedding holds NaN or infinity.
        """
        for part, standardize in self.standardize.items():
            sequences = [one for clip in clips for one in _tensors(clip, part) if len(one)]
            if sequences:
                statistics = self.to_standardize(sequences)
                if not statistics.isfinite().all():
                    raise UserError(
                        f"An embedding of the training rows ({part}) holds NaN or infinity.",
                        "Empty the cache (task=cache prune_gb=0) and embed again, or leave the row out.",
                    )
                cast(Standardize, standardize).fit(statistics)
        windows = [Window(window, clip, frozenset()) for clip in clips for window in clip.windows]
        self.cosine_scale.fit(self._cosines(windows))

    def to_standardize(self, sequences: Sequence[Tensor]) -> Tensor:
        """Return what the statistics of an input are taken of: [n, width]."""
        return _means(sequences)


def _means(sequences: Sequence[Tensor]) -> Tensor:
    return torch.stack([sequence.float().mean(dim=0) for sequence in sequences])


class LinearHead(PooledHead):
    """Scores that are linear in the means of the inputs and in the products of clip and prompt."""

    def __init__(
        self, widths: Widths, generator: torch.Generator, *, rank: int = 16, common_space: bool = False
    ) -> None:
        """Make the layers; see `PooledHead`."""
        super().__init__(widths, generator, rank=rank, hidden=(), dropout=0.0, common_space=common_space)
        self.settings = {"rank": rank, "common_space": common_space}


class MlpHead(PooledHead):
    """An MLP over the means of the inputs and the products of clip and prompt."""

    def __init__(
        self,
        widths: Widths,
        generator: torch.Generator,
        *,
        rank: int = 32,
        hidden: Sequence[int] = (128,),
        dropout: float = 0.1,
        common_space: bool = False,
    ) -> None:
        """Make the layers; see `PooledHead`."""
        super().__init__(widths, generator, rank=rank, hidden=hidden, dropout=dropout, common_space=common_space)


class AttentionPoolHead(PooledHead):
    """As `MlpHead`, over what learned queries find among the frames and tokens.

    Each input's sequence is standardised and projected, and `queries` learned vectors attend to it: softmax over its
    positions (https://arxiv.org/abs/1810.00825, pooling by multihead attention, without the feed-forward).
    """

    def __init__(
        self,
        widths: Widths,
        generator: torch.Generator,
        *,
        dim: int = 128,
        queries: int = 4,
        rank: int = 32,
        hidden: Sequence[int] = (128,),
        dropout: float = 0.1,
        common_space: bool = False,
    ) -> None:
        """Make the layers.

        Args:
            widths: Of the embeddings.
            generator: Of the initial weights.
            dim: Width of the vector of each input; a multiple of `queries`.
            queries: Learned queries for each input; each finds `dim / queries` of the vector.
            rank: See `PooledHead`.
            hidden: See `PooledHead`.
            dropout: See `PooledHead`.
            common_space: See `PooledHead`.
        """
        if dim < 1 or queries < 1 or dim % queries:
            raise UserError(f"head.dim={dim} is not a multiple of head.queries={queries}.", "Such as 128 and 4.")
        self.dim = dim
        super().__init__(widths, generator, rank=rank, hidden=hidden, dropout=dropout, common_space=common_space)
        self.settings |= {"dim": dim, "queries": queries}
        self.queries = nn.ParameterDict()
        self.keys, self.values = nn.ModuleDict(), nn.ModuleDict()
        for part in self.standardize:
            width = getattr(widths, part)
            self.standardize[part] = Standardize(width)
            self.queries[part] = nn.Parameter(torch.empty(queries, 1, dim // queries))
            nn.init.normal_(self.queries[part], generator=generator)
            self.keys[part] = nn.Linear(width, dim)
            self.values[part] = nn.Linear(width, dim)
        initialize(self.keys, generator)
        initialize(self.values, generator)

    def pooled_width(self, part: str) -> int:
        """Return the width of the vector of an input."""
        return self.dim

    def pool(self, part: str, sequences: Sequence[Tensor]) -> Tensor:
        """Return of sequences [length, dim], none of them empty, what the queries find: [n, dim]."""
        values, valid = pad([self.standardized(part, sequence) for sequence in sequences])
        heads = len(self.queries[part])
        query = self.queries[part].expand(len(sequences), -1, -1, -1)
        key, value = (split_heads(layer[part](values), heads) for layer in (self.keys, self.values))
        return attend(query, key, value, valid, scale=(self.dim // heads) ** -0.5)[:, 0]

    def to_standardize(self, sequences: Sequence[Tensor]) -> Tensor:
        """Return what the statistics of an input are taken of: all of its positions."""
        return torch.cat([sequence.float() for sequence in sequences])


def build_head(spec: Mapping[str, Any], widths: Widths, *, backbone: EmbeddingModel | None, seed: int) -> Head:
    """Construct the head that a configuration describes.

    Args:
        spec: The composed group `head`, or what a checkpoint says of a head: `_target_` and its options.
        widths: Of the embeddings, see `Widths.of`.
        backbone: The model whose embeddings are read; for heads that are made of it.
        seed: Of the initial weights.

    Raises:
        UserError: The class cannot be found, is no head, or does not take an option, or an option is wrong.
    """
    path = target_of(spec)
    build = load_class(path)
    if not (inspect.isclass(build) and issubclass(build, Head)):  # before anything that a file names is called
        raise UserError(f"{path} is no head.", f"It must be a class that inherits from {Head.__module__}.Head.")
    given: dict[str, Any] = {"widths": widths, "generator": torch.Generator().manual_seed(seed)}
    takes = inspect.signature(build).parameters
    if "backbone" in takes:
        given["backbone"] = backbone
    if "common_space" in takes and backbone is not None:
        given["common_space"] = backbone.is_common_space
    head: Head = construct(build, path, spec, given, group="head")
    return head


def initialize(module: nn.Module, generator: torch.Generator) -> None:
    """Draw weights and biases of linear layers and convolutions, in their order: uniform, of variance 1 / (3 * inputs).

    As PyTorch does, but from the given generator. No bias is 0 then, and that of the scores stays as it is where only
    differences of scores are learnt. What else there is, such as the gains of norms, stays as it was made.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Linear | nn.Conv1d):
            nn.init.kaiming_uniform_(layer.weight, a=5**0.5, generator=generator)
            if layer.bias is not None:
                bound = layer.weight[0].numel() ** -0.5
                nn.init.uniform_(layer.bias, -bound, bound, generator=generator)


def _check_sizes(*, rank: int, hidden: Sequence[int], dropout: float) -> None:
    if rank < 1:
        raise UserError(f"head.rank={rank} is no number of products.", "Give 1 or more, such as 32.")
    if any(size < 1 for size in hidden):
        raise UserError(f"head.hidden={list(hidden)} holds a width below 1.", "Give widths, such as [128].")
    if not 0 <= dropout < 1:
        raise UserError(f"head.dropout={dropout} is no share.", "Give 0 or more, and less than 1, such as 0.1.")
