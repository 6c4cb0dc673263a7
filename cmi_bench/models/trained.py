"""What training makes: one head or an ensemble of them, over the frozen model whose embeddings they read.

A checkpoint is a folder with `model.safetensors`, the heads' tensors (`heads.0.*`, `heads.1.*`, ...), and `config.yaml`
(`TrainedConfig`), which names the frozen model, its backbone, and the digest of its encoders.
"""

import inspect
import logging
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import torch
import yaml
from pydantic import ConfigDict, Field
from safetensors.torch import save
from torch import Tensor, nn

import cmi_bench
from cmi_bench.audio.decode import AudioError
from cmi_bench.errors import UserError
from cmi_bench.models.adapter import adapt
from cmi_bench.models.base import (
    COLUMN_OF,
    AudioView,
    BenchmarkBatchInput,
    EmbeddedInput,
    EmbeddingModel,
    InputKind,
    UnusedInput,
)
from cmi_bench.models.batching import arithmetic
from cmi_bench.models.checkpoint_kinds import TRAINED, check_kind
from cmi_bench.models.checkpoint_names import CONFIG
from cmi_bench.models.config_files import ConfigSection, read_config_file, read_mapping
from cmi_bench.models.embedding import load_waveform
from cmi_bench.models.heads import Head, Widths, build_head
from cmi_bench.models.hub import WEIGHTS, CheckpointFiles, find_checkpoint
from cmi_bench.models.registry import HYDRA_KEYS, build_model, load_class, target_of
from cmi_bench.models.weights import load_strictly, tensors_digest
from cmi_bench.types import Aspect
from cmi_bench.utils.distributed import is_rank_zero
from cmi_bench.utils.files import content_key, files_digest, write_bytes_atomic, write_text_atomic

log = logging.getLogger(__name__)

PLACES = ("checkpoint", "config", "muq", "tokenizer")
"""Keys of a model's configuration that name files or folders."""
STEPS = ("audio_view", "embed_audio", "embed_texts", "score_embedded", "score_batch")
"""Methods by which a class is known as that of a model that embeds."""


class TrainingOrigin(ConfigSection):
    """Where heads come from: for people, no score depends on it."""

    model_config = ConfigDict(extra="forbid")

    run: str = ""
    """The training's id."""
    step: int = 0
    seeds: list[int] = Field(default_factory=list)
    """Of each head."""


class TrainedConfig(ConfigSection):
    """A checkpoint's `config.yaml`."""

    model_config = ConfigDict(extra="forbid")

    backbone: dict[str, Any]
    """The frozen model: what was the group `model` of the configuration."""
    encoder_digest: str | None = None
    """Of what makes its embeddings, see `EmbeddingModel.encoder_digest`."""
    max_dur: float = Field(gt=0)
    """Seconds of each clip that were looked at in training."""
    widths: dict[str, int]
    """Of the embeddings, see `heads.Widths`; 0 for what the heads do not read."""
    aspects: list[Annotated[Aspect, Field(strict=False)]]
    """What the heads were trained to judge."""
    heads: list[dict[str, Any]] = Field(min_length=1)
    """Of each its class, `_target_`, and its options."""
    training: TrainingOrigin = TrainingOrigin()


def save_trained(folder: Path, heads: Sequence[Head], config: TrainedConfig) -> None:
    """Write heads and what describes them into a folder.

    Args:
        folder: Where `model.safetensors` and `config.yaml` go.
        heads: At least one.
        config: What describes them.

    Raises:
        OSError: The disk is full, or the folder cannot be written to.
    """
    tensors = {
        f"heads.{number}.{name}": tensor.detach().cpu().contiguous()
        for number, head in enumerate(heads)
        for name, tensor in head.state_dict().items()
    }
    write_bytes_atomic(folder / WEIGHTS, save(tensors))
    document = config.model_dump(mode="json")
    write_text_atomic(folder / CONFIG, yaml.safe_dump(document, sort_keys=False, allow_unicode=True))


def head_spec(head: Head) -> dict[str, Any]:
    """Return what makes a head of this form again, as plain values: its class and options."""
    return {"_target_": f"{type(head).__module__}.{type(head).__qualname__}", **head.settings}


def load_heads(files: CheckpointFiles, config: TrainedConfig) -> list[Head]:
    """Return a checkpoint's heads for inference, on the CPU.

    Raises:
        UserError: A tensor is missing, unexpected or of another shape, or a head's class or options are not right.
    """
    widths = Widths(**config.widths)
    heads = [build_head(spec, widths, backbone=None, seed=0) for spec in config.heads]
    load_strictly(nn.ModuleDict({"heads": nn.ModuleList(heads)}), files.weights)
    return [head.eval() for head in heads]


def lasting_spec(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return a model's configuration such that it holds in other folders too: what lies on this machine by its path."""
    lasting = {key: value for key, value in spec.items() if value is not None}
    for key in PLACES:
        if isinstance(value := lasting.get(key), str) and (path := Path(value).expanduser()).exists():
            lasting[key] = str(path.absolute())
    return lasting


class TrainedModel(EmbeddingModel):
    """Trained heads over a frozen model; several are an ensemble, whose score is their mean.

    It embeds exactly as its backbone does, so that both share what is cached.
    """

    def __init__(
        self,
        checkpoint: str,
        backbone: str | None = None,
        device: str | torch.device = "cpu",
        precision: str = "32",
        compile: bool = False,  # noqa: A002
        kernels: str = "on",
        digest_dir: Path | None = None,
    ) -> None:
        """Load the heads, and the backbone, whose weights are mapped from their files and read when it embeds.

        Args:
            checkpoint: A folder that training wrote, the `model.safetensors` in it, or a hub id.
            backbone: The backbone's checkpoint; None takes it from where it was in training.
            device: Torch device.
            precision: Of the backbone: "32", "tf32" or "bf16"; heads compute in float32.
            compile: Whether to compile the backbone with torch.compile.
            kernels: "off" for the backbone's plain modules.
            digest_dir: Where digests of weights are kept from run to run.

        Raises:
            UserError: A file is missing or does not fit, or the backbone is not the one that the heads were trained on.
        """
        self.files = find_checkpoint(checkpoint)
        check_kind(read_mapping(self.files.config), TRAINED, self.files.config)
        self.config = read_config_file(self.files.config, TrainedConfig)
        self.device = torch.device(device)
        self.backbone = _build_backbone(
            self._backbone_spec(backbone), device=str(device), precision=precision, compile=compile, kernels=kernels
        )
        self.digest_dir = digest_dir
        self._check_encoders()
        self.heads = [head.to(self.device) for head in load_heads(self.files, self.config)]
        self.audio_input = self.backbone.audio_input
        self.embeds_on_device = self.backbone.embeds_on_device
        read_by_none = frozenset.intersection(*(head.unused_inputs for head in self.heads))
        self.unused_inputs = self.backbone.unused_inputs | read_by_none
        self._is_warned = False

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute; what keeps digests keeps those of the backbone too."""
        super().__setattr__(name, value)
        if name == "digest_dir":
            self.backbone.digest_dir = value

    def _backbone_spec(self, checkpoint: str | None) -> dict[str, Any]:
        spec, file = dict(self.config.backbone), self.files.config
        if HYDRA_KEYS & spec.keys():
            raise UserError(f"{file}: backbone may not hold {min(HYDRA_KEYS & spec.keys())}.", "Leave it out.")
        if checkpoint is not None:
            return spec | {"checkpoint": checkpoint}
        for key in PLACES:
            path = Path(str(spec.get(key) or ""))
            if path.is_absolute() and not path.exists():
                beside = file.parent.parent / path.name
                if not beside.exists():
                    raise UserError(
                        f"{file} names the backbone's {key} {path}, which is not on this machine.",
                        "Name where it is: model.backbone=FOLDER or a hub id",
                    )
                spec[key] = str(beside)
        return spec

    def _check_encoders(self) -> None:
        wanted, found = self.config.encoder_digest, self.backbone.encoder_digest
        if wanted is not None and found != wanted:
            name = self.config.backbone.get("name")
            raise UserError(
                f"The encoders of {name} are not those that the heads in {self.files.config.parent} were trained on.",
                "Name the checkpoint that they were trained on: model.backbone=FOLDER or a hub id, with its @revision",
            )

    @property
    def embedder(self) -> EmbeddingModel:
        """The backbone."""
        return self.backbone.embedder

    @property
    def computed_by(self) -> Sequence[object]:
        """This model, its backbone, and its heads."""
        return (self, *self.backbone.computed_by, *self.heads)

    @property
    def encoders(self) -> Sequence[nn.Module]:
        """The backbone's."""
        return self.backbone.encoders

    @property
    def sr(self) -> int:
        """Sampling rate in Hz of the waveforms the model takes."""
        return self.backbone.sr

    @cached_property
    def weights_digest(self) -> str:
        """SHA-256 over the heads' tensors, what they are, and the backbone's encoders."""
        tensors = {
            f"{number}.{name}": one for number, head in enumerate(self.heads) for name, one in head.state_dict().items()
        }
        return content_key(
            heads=tensors_digest({name: one.cpu() for name, one in tensors.items()}),
            specs=self.config.heads,
            widths=self.config.widths,
            aspects=self.config.aspects,
            encoders=self.encoder_digest,
        )

    @cached_property
    def digest(self) -> str:
        """SHA-256 over the same and the configuration."""
        return content_key(weights=self.weights_digest, config=files_digest([self.files.config]))

    @property
    def encoder_digest(self) -> str | None:
        """The backbone's."""
        return self.backbone.encoder_digest

    @property
    def identity(self) -> str:
        """What settles a score besides the clip and `max_dur`."""
        return content_key(
            model="trained",
            weights=self.weights_digest,
            audio=self.audio_identity,
            text=self.text_identity,
            code=cmi_bench.__version__,
        )

    @property
    def audio_identity(self) -> str:
        """The backbone's."""
        return self.backbone.audio_identity

    @property
    def text_identity(self) -> str:
        """The backbone's."""
        return self.backbone.text_identity

    @property
    def facts(self) -> dict[str, Any]:
        """How the backbone computed, and where the heads come from."""
        return {**self.backbone.facts, "heads": len(self.heads), "training": self.config.training.model_dump()}

    @property
    def operations_per_second(self) -> float | None:
        """The backbone's."""
        return self.backbone.operations_per_second

    @property
    def projections(self) -> dict[str, nn.Linear]:
        """The last layer of each head."""
        return {f"heads.{number}": head.projection for number, head in enumerate(self.heads)}

    def audio_view(self, max_dur: float, *, is_reference: bool) -> AudioView:
        """Return the backbone's view; once warn where the heads were trained on another."""
        if max_dur != self.config.max_dur and not self._is_warned and is_rank_zero():
            self._is_warned = True
            log.warning(
                "The heads were trained on the first %g s of clips, and score the first %g s (max_dur).",
                self.config.max_dur,
                max_dur,
            )
        return self.backbone.audio_view(max_dur, is_reference=is_reference)

    def embed_audio(self, waveforms: Sequence[Tensor], max_dur: float, *, is_reference: bool) -> list[list[Tensor]]:
        """Embed waveforms as the backbone does."""
        return self.backbone.embed_audio(waveforms, max_dur, is_reference=is_reference)

    def embed_texts(self, texts: Sequence[str]) -> list[Tensor]:
        """Embed texts as the backbone does."""
        return self.backbone.embed_texts(texts)

    def pooling(self, kind: InputKind) -> str:
        """Return what the backbone's `pool` does."""
        return self.backbone.pooling(kind)

    def pool(self, embedding: Tensor, kind: InputKind) -> Tensor:
        """Pool as the backbone does."""
        return self.backbone.pool(embedding, kind)

    def score_embedded(self, clips: Sequence[EmbeddedInput]) -> npt.NDArray[np.floating[Any]]:
        """Score embedded clips.

        Returns:
            float32 [N, 2] of one head, [heads, N, 2] of several; NaN in the column of an aspect that was not trained.

        Raises:
            AudioError: A score is no number; the message names the first such clip by its place.
        """
        return self._score(clips, [f"Clip {place + 1} of {len(clips)}" for place in range(len(clips))])

    def _score(self, clips: Sequence[EmbeddedInput], names: Sequence[str]) -> npt.NDArray[np.floating[Any]]:
        if not clips:
            return np.zeros((0, 2), dtype=np.float32)
        pooled = [self._pooled(clip) for clip in clips]
        with arithmetic("32", self.device):
            scores: npt.NDArray[np.float32] = torch.stack([head(pooled) for head in self.heads]).cpu().numpy()
        for name, of_clip in zip(names, scores.swapaxes(0, 1), strict=True):
            if not np.isfinite(of_clip).all():  # NaN would read as "not judged"
                raise AudioError(f"{name} has no finite score.", "Does its audio hold NaN or infinite samples?")
        for aspect, column in COLUMN_OF.items():
            if aspect not in self.config.aspects:
                scores[..., column] = np.nan
        return scores if len(scores) > 1 else scores[0]

    def _pooled(self, clip: EmbeddedInput) -> EmbeddedInput:
        def pooled(embedding: Tensor, kind: InputKind) -> Tensor:
            return self.backbone.pool(embedding, kind).to(self.device)

        return EmbeddedInput(
            windows=[pooled(window, "audio") for window in clip.windows],
            text=pooled(clip.text, "text"),
            lyrics=pooled(clip.lyrics, "lyrics"),
            ref_audio=None if clip.ref_audio is None else pooled(clip.ref_audio, "ref_audio"),
        )

    def score_batch(
        self, inputs: Sequence[BenchmarkBatchInput], batch_size: int, max_dur: float, **kwargs: Any
    ) -> npt.NDArray[np.floating[Any]]:
        """Score clips; see `BenchmarkModelABC.score_batch`. No keyword is taken; no score depends on `batch_size`.

        Raises:
            AudioError: A clip cannot be decoded, is too short or has no finite score; the message names it.
        """
        if kwargs:
            raise UserError(f"score_batch of trained heads takes no option {min(kwargs)!r}.", "Leave it out.")
        names = [f"Clip {one.clip_id or f'number {place}'}" for place, one in enumerate(inputs)]
        texts = list(dict.fromkeys(self._text(one, kind) for one in inputs for kind in ("text", "lyrics")))
        tokens = dict(zip(texts, self.embed_texts(texts), strict=True))
        clips = [
            EmbeddedInput(
                windows=self._embed(one.audio, name, max_dur, is_reference=False),
                text=tokens[self._text(one, "text")],
                lyrics=tokens[self._text(one, "lyrics")],
                ref_audio=None
                if one.ref_audio is None or "ref_audio" in self.unused_inputs
                else self._embed(one.ref_audio, f"The reference of {name}", max_dur, is_reference=True)[0],
            )
            for one, name in zip(inputs, names, strict=True)
        ]
        return self._score(clips, names)

    def _text(self, one: BenchmarkBatchInput, kind: UnusedInput) -> str:
        return "" if kind in self.unused_inputs else str(getattr(one, kind))

    def _embed(self, audio: str | Tensor, name: str, max_dur: float, *, is_reference: bool) -> list[Tensor]:
        seconds = self.audio_view(max_dur, is_reference=is_reference).seconds
        waveform = load_waveform(audio, name, sr=self.sr, seconds=seconds)
        try:
            return self.embed_audio([waveform], max_dur, is_reference=is_reference)[0]
        except AudioError as error:
            raise AudioError(f"{name}: {error.what}", error.hint) from error


def _build_backbone(spec: Mapping[str, Any], **settings: Any) -> EmbeddingModel:
    """Build the model that a checkpoint names.

    Raises:
        UserError: It is no model that embeds; nothing that is none is called.
    """
    path = target_of(spec)
    build = load_class(path)
    owner = build if inspect.isclass(build) else getattr(build, "__self__", None)  # of a method that makes models
    is_model = inspect.isclass(owner) and all(callable(getattr(owner, step, None)) for step in STEPS)
    model = adapt(build_model(spec, **settings), path) if is_model else None
    if not isinstance(model, EmbeddingModel):
        raise UserError(f"The backbone {path} is no model that embeds.", "Train on one that does; see docs/models.md.")
    return model
