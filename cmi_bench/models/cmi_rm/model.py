"""CMI-RM behind the benchmark's contract: which pieces are encoded, and what is scored together."""

import hashlib
import logging
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple, cast, get_args

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

import cmi_bench
from cmi_bench.audio.decode import AudioError
from cmi_bench.errors import UserError, did_you_mean
from cmi_bench.models.base import AudioInput, AudioView, BenchmarkBatchInput, EmbeddedInput, EmbeddingModel, InputKind
from cmi_bench.models.batching import (
    arithmetic,
    audio_arithmetic,
    check_device,
    checked_precision,
    in_batches,
    near_batches_of,
)
from cmi_bench.models.cmi_rm.checkpoint import ENCODERS, check_encoders, load_cmi_rm, part_digests
from cmi_bench.models.cmi_rm.network import Embedded, Mean, PreparedNetwork, judge, windows_on
from cmi_bench.models.cmi_rm.windows import CHUNK_SECONDS, Mode, load_checked_waveform, too_short, windows_of
from cmi_bench.models.device_rate import tower_operations
from cmi_bench.models.encoding import encode_waveforms, fit_of
from cmi_bench.models.hub import find_checkpoint
from cmi_bench.models.kernels.prepare import Kernels, checked_kernels
from cmi_bench.utils.files import content_key

log = logging.getLogger(__name__)

RELEASED = "HaiwenXia/CMI-RM"
"""Hub id of the published checkpoint."""
ENCODE_CHUNKS = 64
"""Chunks encoded at once, unless the caller sets another number; devices may take fewer, see `encoding`."""
TEXT_PADDING = 0.1
"""Share that padding may add to texts encoded at once: short ones share the reading of weights, long ones need not."""
ENCODE_BATCH = 8
"""Texts encoded, and clips scored, at once, unless the caller sets another number."""


class AudioPiece(NamedTuple):
    """A piece of audio and its view."""

    digest: bytes
    """Of the samples."""
    view: AudioView
    waveform: Tensor
    """float32 [samples]."""
    is_reference: bool


def samples_digest(waveform: Tensor) -> bytes:
    """Return a name for a waveform [samples] on the CPU that only equal samples share."""
    return hashlib.sha256(waveform.contiguous().numpy().data).digest()


def _encoder_digest(digests: Mapping[str, str]) -> str:
    return content_key(**{part: digests[part] for part in ENCODERS})


class CmiRM(EmbeddingModel):
    """The reward model of CMI-RewardBench.

    A clip's score is the one that it has alone, whatever else is scored with it.

    Besides `score_batch` there are its steps, as `models.base.EmbeddingModel` wants them: embeddings may be
    kept and shared between checkpoints with one encoder, and are scored by themselves.
    """

    embeds_on_device = True

    def __init__(
        self,
        checkpoint: str | None = RELEASED,
        config: str | None = None,
        device: str | torch.device = "cpu",
        precision: str = "32",
        mode: Mode = "final",
        dur_step: float | None = None,
        compile: bool = False,  # noqa: A002
        kernels: str = "on",
    ) -> None:
        """Load the model.

        Args:
            checkpoint: A `.safetensors` file, its folder, or a hub id; None takes the published one.
            config: Its `config.yaml`; None takes the one beside the checkpoint.
            device: Torch device.
            precision: "32", or "tf32" (on CUDA) or "bf16" for the audio tower's products.
            mode: "final" encodes the first `max_dur` seconds in chunks of 30 s and scores once; "standard"
                scores windows of `max_dur` seconds and averages.
            dur_step: Seconds between windows in mode "standard"; None scores the first window only.
            compile: Compile the audio tower with torch.compile, for CUDA and mode "final".
            kernels: "off" computes with the plain modules.

        Raises:
            UserError: A file is missing or does not fit, or an option is not understood.
        """
        if mode not in get_args(Mode):
            raise UserError(f"There is no mode {mode!r}.", did_you_mean(mode, get_args(Mode)))
        if dur_step is not None and (mode == "final" or dur_step <= 0):
            raise UserError(
                f"dur_step={dur_step} in mode {mode}.", "It needs mode=standard and is in seconds, above 0."
            )
        self.mode = mode
        self.dur_step = dur_step
        # Windows move over the whole clip, of which a caller would decode max_dur seconds.
        self.audio_input: AudioInput = "waveform" if dur_step is None else "path"
        self.precision = checked_precision(precision)
        self.compile = compile
        self.kernels = checked_kernels(kernels)
        if compile and mode != "final":
            raise UserError(f"compile=true in mode {mode}.", "It needs mode=final, whose chunks are of one length.")
        self.checkpoint = checkpoint or RELEASED
        self.loaded = load_cmi_rm(find_checkpoint(self.checkpoint, config))
        self.to(device)

    def to(self, device: str | torch.device) -> "CmiRM":
        """Move the network to a torch device."""
        self.device = torch.device(device)
        check_device(self.precision, self.device, fast_bf16=self.kernels == "on")
        if self.compile and self.device.type == "cpu":
            log.warning("compile=true makes nothing faster on the CPU.")
        self.parts = PreparedNetwork(
            self.loaded.network,
            self.device,
            self.precision,
            kernels=self._kernels_used,
            compiled_samples=int(CHUNK_SECONDS * self.sr) if self.compile else None,
        )
        self.fit = fit_of(self.loaded.network.audio_tower, self._arithmetic, self.device)
        return self

    @property
    def _kernels_used(self) -> Kernels:
        """torch.compile takes no packed weights (torch 2.14.1): on the CPU it compiles the plain modules."""
        return "off" if self.compile and self.device.type == "cpu" else self.kernels

    @property
    def projections(self) -> dict[str, nn.Linear]:
        """The layer that gives the scores."""
        return {"score_projector.3": cast(nn.Linear, self.loaded.network.scorer.score_projector[3])}

    @property
    def sr(self) -> int:
        """Sampling rate in Hz of the waveforms the model takes."""
        return self.loaded.sr

    @cached_property
    def _digests(self) -> dict[str, str]:
        digests = part_digests(self.loaded, self.digest_dir)
        check_encoders(self.loaded, _encoder_digest(digests))
        return digests

    @property
    def _arithmetic(self) -> str:
        """The part of the arithmetic that shows in a score."""
        name = audio_arithmetic(self.precision)
        return f"{name}, compiled" if self.compile else name

    @property
    def digest(self) -> str:
        """SHA-256 over weights, configurations and tokenizer: hexadecimal. Reads all of the weights, once."""
        return content_key(**self._digests)

    @property
    def encoder_digest(self) -> str:
        """SHA-256 over the towers' weights, configurations and tokenizer: hexadecimal."""
        return _encoder_digest(self._digests)

    @property
    def identity(self) -> str:
        """What settles a score besides the clip and `max_dur`; see `models.base.EmbeddingModel`."""
        return content_key(
            model="cmi_rm",
            weights=self.digest,
            arithmetic=self._arithmetic,
            mode=self.mode,
            dur_step=self.dur_step,
            code=cmi_bench.__version__,
        )

    @property
    def audio_identity(self) -> str:
        """What settles an audio embedding besides the audio and its view."""
        return self._encoder_identity("audio", self._arithmetic)

    @property
    def text_identity(self) -> str:
        """What settles a text embedding besides the text."""
        return self._encoder_identity("text", "32")

    @cached_property
    def operations_per_second(self) -> float | None:
        """Those of the audio tower on a full chunk, of which a shorter one takes a few percent less a second."""
        if self.mode != "final":
            return None
        return tower_operations(self.loaded.network.audio_tower, int(CHUNK_SECONDS * self.sr)) / CHUNK_SECONDS

    @property
    def facts(self) -> dict[str, Any]:
        """How this process computed, for the run's metadata."""
        facts: dict[str, Any] = {"compiled": self.compile, "kernels": self._kernels_used}
        return facts | ({"batch_seconds": self.fit.largest / self.sr} if self.fit.largest else {})

    def _encoder_identity(self, part: str, arithmetic: str) -> str:
        """Checkpoints that were trained on the same frozen encoder agree in it."""
        return content_key(
            encoder=f"cmi_rm {part}",
            weights=self._digests[part],
            arithmetic=arithmetic,
            code=cmi_bench.__version__,
        )

    def audio_view(self, max_dur: float, *, is_reference: bool) -> AudioView:
        """Return how a clip, or a reference, is cut under `max_dur` seconds."""
        if self.mode == "final":
            return AudioView(f"chunks of {CHUNK_SECONDS:g} s of the first {max_dur:g} s", max_dur, CHUNK_SECONDS)
        if self.dur_step is None or is_reference:
            return AudioView(f"the first {max_dur:g} s", max_dur)
        return AudioView(f"windows of {max_dur:g} s every {self.dur_step:g} s", None)

    def embed_audio(
        self, waveforms: Sequence[Tensor], max_dur: float, *, is_reference: bool, batch_size: int = ENCODE_CHUNKS
    ) -> list[list[Tensor]]:
        """Embed waveforms float32 [samples] at `sr`: of each its windows' frames [time, dim].

        Args:
            waveforms: Decoded as `audio_view` says.
            max_dur: Seconds of each that are used; in mode "standard" the windows' length.
            is_reference: Of a reference only the first window counts.
            batch_size: Chunks encoded at once; no frame depends on it.

        Raises:
            AudioError: A waveform is too short.
        """
        dur_step = None if is_reference else self.dur_step
        cut = [windows_of(waveform, self.sr, max_dur, mode=self.mode, dur_step=dur_step) for waveform in waveforms]
        for waveform, windows in zip(waveforms, cut, strict=True):
            if not windows:
                raise too_short(len(waveform), self.sr)
        chunks = [chunk for windows in cut for window in windows for chunk in window]
        frames = iter(self.encode_audio(chunks, batch_size))
        return [[torch.cat([next(frames) for _ in window]) for window in windows] for windows in cut]

    def embed_texts(self, texts: Sequence[str]) -> list[Tensor]:
        """Embed prompts or lyrics: of each its tokens [tokens, dim]."""
        return self.encode_texts(texts)

    def pooling(self, kind: InputKind) -> str:
        """Return a name for what `pool` does: means of windows, where the configuration has those."""
        means = self._means(kind)
        return "" if means is None else f"means of {means.factor}"

    def pool(self, embedding: Tensor, kind: InputKind) -> Tensor:
        """Downsample an embedding [length, dim] as the scorer does, where that has no parameters."""
        means = self._means(kind)
        pooled: Tensor = embedding if means is None else means(embedding)
        return pooled

    def _means(self, kind: InputKind) -> Mean | None:
        scorer = self.loaded.network.scorer
        downsampler = {
            "audio": scorer.eval_downsampler,
            "ref_audio": scorer.ref_downsampler,
            "text": scorer.text_downsampler,
            "lyrics": scorer.lyrics_downsampler,
        }[kind]
        return downsampler if isinstance(downsampler, Mean) and downsampler.factor > 1 else None

    def score_embedded(
        self, clips: Sequence[EmbeddedInput], batch_size: int = ENCODE_BATCH
    ) -> npt.NDArray[np.floating[Any]]:
        """Score embedded clips: float32 [N, 2], column 0 alignment, column 1 musicality; unbounded.

        Args:
            clips: Of `embed_audio` and `embed_texts`.
            batch_size: Windows scored at once; no score depends on it.

        Raises:
            AudioError: A score is no number; the message names the first such clip by its place.
        """
        return self._score(clips, batch_size, names=[f"Clip {i + 1} of {len(clips)}" for i in range(len(clips))])

    def _score(
        self, clips: Sequence[EmbeddedInput], batch_size: int, *, names: Sequence[str]
    ) -> npt.NDArray[np.floating[Any]]:
        windows = self.score_embeddings(windows_on(self.device, clips), batch_size)
        by_clip = torch.split(windows, [len(clip.windows) for clip in clips])
        scores = torch.stack([rows.mean(dim=0) for rows in by_clip])
        for name, row in zip(names, scores, strict=True):
            if not row.isfinite().all():  # NaN would read as "not judged"
                raise AudioError(f"{name} has no finite score.", "Does its audio hold NaN or infinite samples?")
        return scores.numpy()  # type: ignore[no-any-return]

    def score_batch(
        self, inputs: Sequence[BenchmarkBatchInput], batch_size: int, max_dur: float, **kwargs: Any
    ) -> npt.NDArray[np.floating[Any]]:
        """Score clips.

        Audio and text that several of the clips share are encoded once.

        Args:
            inputs: The N clips; audio as a path or a waveform float32 [samples] at `sr`.
            batch_size: Chunks encoded, and clips scored, at once; no score depends on it.
            max_dur: Seconds of each clip that are used; in mode "standard" the windows' length.
            kwargs: None are taken.

        Returns:
            float32 [N, 2]: column 0 alignment, column 1 musicality; unbounded.

        Raises:
            AudioError: A clip cannot be decoded or is too short, or its scores are no numbers; the
                message names it.
        """
        if kwargs:
            raise UserError(f"CMI-RM's score_batch takes no option {min(kwargs)!r}.", "Set model.mode, model.dur_step.")
        if not inputs:
            return np.zeros((0, 2), dtype=np.float32)
        names = [one.clip_id or f"number {index}" for index, one in enumerate(inputs)]
        audio = [self._load_piece(one.audio, f"Clip {name}", max_dur) for one, name in zip(inputs, names, strict=True)]
        references = [
            self._load_piece(one.ref_audio, f"The reference of clip {name}", max_dur, is_reference=True)
            for one, name in zip(inputs, names, strict=True)
        ]
        windows = self._embed_once([*audio, *references], max_dur, batch_size)
        texts = list(dict.fromkeys(text for one in inputs for text in (one.text, one.lyrics)))
        tokens = dict(zip(texts, self.encode_texts(texts, batch_size), strict=True))
        clips = [
            EmbeddedInput(embedded, tokens[one.text], tokens[one.lyrics], reference[0] if reference else None)
            for one, embedded, reference in zip(inputs, windows, windows[len(inputs) :], strict=False)
        ]
        return self._score(clips, batch_size, names=[f"Clip {name}" for name in names])

    def _load_piece(
        self, audio: str | Tensor | None, name: str, max_dur: float, *, is_reference: bool = False
    ) -> AudioPiece | None:
        if audio is None:
            return None
        view = self.audio_view(max_dur, is_reference=is_reference)
        waveform = load_checked_waveform(audio, name, sr=self.sr, seconds=view.seconds, max_dur=max_dur)
        return AudioPiece(samples_digest(waveform), view, waveform, is_reference)

    def _embed_once(self, pieces: Sequence[AudioPiece | None], max_dur: float, batch_size: int) -> list[list[Tensor]]:
        """Return the windows of each; equal samples under one view are embedded once; no audio has no windows."""
        distinct = {(one.digest, one.view): one for one in pieces if one is not None}
        embedded: dict[tuple[bytes, AudioView], list[Tensor]] = {}
        for view in dict.fromkeys(view for _, view in distinct):
            group = {key: one for key, one in distinct.items() if one.view == view}
            flag = next(iter(group.values())).is_reference
            waveforms = [one.waveform for one in group.values()]
            windows = self.embed_audio(waveforms, max_dur, is_reference=flag, batch_size=batch_size)
            embedded |= zip(group, windows, strict=True)
        return [[] if one is None else embedded[one.digest, one.view] for one in pieces]

    def encode_audio(self, chunks: Sequence[Tensor], batch_size: int = ENCODE_CHUNKS) -> list[Tensor]:
        """Encode chunks, each by itself.

        Args:
            chunks: Waveforms float32 [samples] at `sr`, at least 1,025 samples long.
            batch_size: Chunks of one length encoded at once, at most; no frame depends on it.

        Returns:
            For each chunk its frames, float32 [time, dim] on the model's device: 25 a second.
        """
        tower = self.parts.audio_tower  # made here, once, whatever threads call it
        return encode_waveforms(
            chunks,
            lambda batch: tower(batch).float(),
            device=self.device,
            precision=self.precision,
            batch_size=batch_size,
            fit=self.fit,
            folder=self.digest_dir,
        )

    def encode_texts(self, texts: Sequence[str], batch_size: int = ENCODE_BATCH) -> list[Tensor]:
        """Encode prompts or lyrics, each by itself.

        Args:
            texts: May be empty strings.
            batch_size: Texts encoded at once; no token depends on it.

        Returns:
            For each text its tokens, float32 [tokens, dim] on the model's device, at least two.
        """
        ids = self.loaded.tokenizer.encode(texts)
        with arithmetic("32", self.device):
            return in_batches(
                near_batches_of([(len(tokens),) for tokens in ids], batch_size, padding=TEXT_PADDING),
                lambda batch: [tokens.float() for tokens in self.parts.text_tower([ids[index] for index in batch])],
            )

    def score_embeddings(self, clips: Sequence[Embedded], batch_size: int = ENCODE_BATCH) -> Tensor:
        """Score encoded clips, or windows of clips.

        Args:
            clips: What `encode_audio` and `encode_texts` returned; the chunks of a clip concatenated.
            batch_size: Prompts, and clips, computed at once; no score depends on it.

        Returns:
            float32 [len(clips), 2] on the CPU: column 0 alignment, column 1 musicality.
        """
        if not clips:
            return torch.zeros(0, 2)
        with arithmetic("32", self.device):
            return judge(self.parts.scorer, clips, batch_size).cpu()
