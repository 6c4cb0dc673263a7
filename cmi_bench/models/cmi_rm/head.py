"""CMI-RM's own head in training: its scorer, and the learned null embeddings that stand for a dropped input.

The paper (arXiv 2603.00610) and the public code say that in training a prompt, lyrics or reference is dropped with
some probability and a learned embedding put in its place, and that at inference an absent input is an empty sequence.
They do not say what training does with an input that a row never had; here it is the empty sequence, as at inference.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, cast, get_args

import torch
from torch import Tensor, nn

from cmi_bench.errors import UserError, did_you_mean
from cmi_bench.models.base import EmbeddingModel, UnusedInput
from cmi_bench.models.batching import in_batches, near_batches_of
from cmi_bench.models.cmi_rm.checkpoint import SCORER, read_null_embeddings
from cmi_bench.models.cmi_rm.config import RewardConfig, read_reward_config
from cmi_bench.models.cmi_rm.model import CmiRM
from cmi_bench.models.cmi_rm.network import Scorer
from cmi_bench.models.config_files import read_mapping, read_options
from cmi_bench.models.heads import PARTS, Head, Widths, Window, initialize
from cmi_bench.models.hub import CheckpointFiles
from cmi_bench.models.weights import WHOLE, read_tensors, refuse

Init = Literal["checkpoint", "scratch"]

NULLS: dict[UnusedInput, str] = {"text": "text", "lyrics": "lyrics", "ref_audio": "audio"}
"""CMI-RM's names of null embeddings, `null_*_embedding`, by the input that they stand for."""
NULL_DEVIATION = 0.02
"""Standard deviation of null embeddings that begin from nothing."""
TOGETHER, PADDING = 16, 0.1
"""Sequences computed at once, at most, and the share that padding may add: lengths differ widely."""


class JointHead(Head):
    """Prompt transformer, joint transformer and projector, as released, with the null embeddings of their training.

    It reads embeddings after downsampling that has no parameters (`CmiRM.pool`); downsampling that has some is part of
    it. A null embedding stands where the downsampled sequence would.
    """

    def __init__(
        self,
        widths: Widths,
        generator: torch.Generator,
        *,
        backbone: EmbeddingModel | None = None,
        init: str = "checkpoint",
        architecture: Mapping[str, Any] | None = None,
    ) -> None:
        """Make the network.

        Args:
            widths: Of the embeddings.
            generator: Of initial weights.
            backbone: The CMI-RM whose head this is.
            init: "checkpoint" begins with the backbone's scorer, and its null embeddings where it has them; "scratch"
                with random weights: of layers as `initialize` draws them, null embeddings normal of deviation 0.02.
            architecture: In place of a backbone: the section `model` of its `config.yaml`; the weights come later.

        Raises:
            UserError: The backbone is no CMI-RM or its embeddings have another width, or there is no such `init`.
        """
        super().__init__()
        if init not in get_args(Init):
            raise UserError(f"There is no head.init={init!r}.", did_you_mean(init, get_args(Init)))
        if architecture is None:
            if not isinstance(backbone, CmiRM):
                kind = type(backbone).__name__
                raise UserError(
                    f"The head cmi_joint is CMI-RM's own, and the model is {kind}.",
                    "Choose model=cmi_rm, or another head: attention_pool, mlp or linear.",
                )
            architecture = backbone.loaded.architecture
        config = read_options(architecture, RewardConfig, name="architecture")
        self.widths = widths
        self.settings = {"architecture": dict(architecture)}
        for part, width in widths._asdict().items():
            if width not in (0, config.dim):
                raise UserError(
                    f"Embeddings of {part} are {width} wide; the head cmi_joint takes {config.dim}.",
                    "Embed with the CMI-RM whose head is trained.",
                )
        self.scorer = Scorer(config.without_means())
        self.nulls = nn.ParameterDict(
            {one: nn.Parameter(torch.empty(1, config.null_length(name), config.dim)) for one, name in NULLS.items()}
        )
        initialize(self.scorer, generator)
        for null in self.nulls.values():
            nn.init.normal_(null, std=NULL_DEVIATION, generator=generator)
        if init == "checkpoint" and isinstance(backbone, CmiRM):
            nulls = read_null_embeddings(backbone.loaded, self.null_embeddings())
            self.load_checkpoint_tensors({**backbone.loaded.states[SCORER], **nulls})

    @property
    def projection(self) -> nn.Linear:
        """The last layer."""
        return cast(nn.Linear, self.scorer.score_projector[3])

    @property
    def unused_inputs(self) -> frozenset[UnusedInput]:
        """Lyrics, where the architecture leaves them out."""
        return frozenset() if self.scorer.lyrics_in_prompt else frozenset({"lyrics"})

    def null_embeddings(self) -> dict[str, Tensor]:
        """Return the null embeddings [1, length, dim], by their names in a checkpoint."""
        return {_null_name(name): self.nulls[one].data for one, name in NULLS.items()}

    def checkpoint_tensors(self) -> dict[str, Tensor]:
        """Return all tensors by the names that they have in a checkpoint of CMI-RM."""
        return {**self.scorer.state_dict(), **self.null_embeddings()}

    def load_checkpoint_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Copy tensors by the names that they have in a checkpoint; null embeddings may be missing."""
        self.scorer.load_state_dict({name: one for name, one in tensors.items() if not name.startswith("null_")})
        for one, name in NULLS.items():
            if _null_name(name) in tensors:
                self.nulls[one].data.copy_(tensors[_null_name(name)])

    def score_windows(self, windows: Sequence[Window]) -> Tensor:
        """Score windows of clips: float32 [len(windows), 2]."""
        keys = [_prompt_key(window) for window in windows]
        # The two clips of a pair have their prompt in common.
        of_prompts = dict(zip(keys, windows, strict=True))
        joined = [self._joined(window) for window in of_prompts.values()]
        embedded = in_batches(
            near_batches_of([(len(prompt),) for prompt in joined], TOGETHER, padding=PADDING),
            lambda batch: self.scorer.embed_joined([joined[index] for index in batch]),
        )
        prompts = dict(zip(of_prompts, embedded, strict=True))
        lengths = [(len(window.audio), len(prompts[key])) for window, key in zip(windows, keys, strict=True)]
        scores = in_batches(
            near_batches_of(lengths, TOGETHER, padding=PADDING),
            lambda batch: self.scorer(
                [windows[index].audio.float() for index in batch], [prompts[keys[index]] for index in batch]
            ),
        )
        return torch.stack(scores)

    def _joined(self, window: Window) -> Tensor:
        """Return the parts of a window's prompt, downsampled, one after the other: [length, dim]."""
        scorer, clip = self.scorer, window.clip
        parts = [self._part("text", clip.text, scorer.text_downsampler, window)]
        if scorer.lyrics_in_prompt:
            parts.append(self._part("lyrics", clip.lyrics, scorer.lyrics_downsampler, window))
        if clip.ref_audio is not None:
            parts.append(self._part("ref_audio", clip.ref_audio, scorer.ref_downsampler, window))
        return torch.cat(parts)

    def _part(self, name: UnusedInput, embedding: Tensor, downsampler: nn.Module, window: Window) -> Tensor:
        part: Tensor = self.nulls[name][0] if name in window.dropped else downsampler(embedding.float())
        return part


def read_joint_head(files: CheckpointFiles) -> JointHead:
    """Return the head of a checkpoint in the public layout, on the CPU; nothing else of it is read.

    Raises:
        UserError: A file cannot be read, or a tensor is missing or of another shape.
    """
    config, architecture = read_reward_config(files.config), read_mapping(files.config)["model"]
    head = JointHead(Widths(*[config.dim] * len(PARTS)), torch.Generator(), architecture=architecture)
    wanted = head.checkpoint_tensors()
    tensors = read_tensors(files.weights, wanted, not_used=["*"])
    refuse("missing", wanted.keys() - tensors.keys() - head.null_embeddings().keys(), [files.weights], WHOLE)
    head.load_checkpoint_tensors(tensors)
    return head.eval()


def _null_name(name: str) -> str:
    return f"null_{name}_embedding"


def _prompt_key(window: Window) -> tuple[object, ...]:
    clip = window.clip
    return id(clip.text), id(clip.lyrics), id(clip.ref_audio), window.dropped
