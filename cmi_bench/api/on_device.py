"""Songs that are tensors, as a generator makes them: resampled, embedded and scored on their device."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from cmi_bench.api.songs import LOUDEST, MAX_CHANNELS, NumberedSong
from cmi_bench.audio.decode import RESAMPLER_CONTEXT, AudioError
from cmi_bench.audio.readers import Start
from cmi_bench.audio.resample import resample
from cmi_bench.models.base import EmbeddedInput, EmbeddingModel
from cmi_bench.models.float32_products import tensor_float32
from cmi_bench.scoring.batching import BatchLimits, bisect, plan_batches
from cmi_bench.scoring.model_call import read_answer
from cmi_bench.scoring.store import MemoryScoreWriter
from cmi_bench.types import Score


class DeviceScorer:
    """Scores with an embedding model, as a run of the benchmark does, from tensors that stay on their device.

    Of a model whose `embed_audio` takes waveforms from the CPU only, the resampled ones are copied there.
    """

    def __init__(self, model: EmbeddingModel, max_dur: float, limits: BatchLimits) -> None:
        """Take the model.

        Args:
            model: Embeds and scores.
            max_dur: Seconds of each song that are looked at, from its start.
            limits: How much is embedded at once.
        """
        self.model = model
        self.max_dur = max_dur
        self.limits = limits

    def scores(self, songs: Sequence[NumberedSong]) -> dict[str, Score]:
        """Score songs: audio [samples] or [channels, samples], with its sampling rate; returns scores by key."""
        writer = MemoryScoreWriter()

        def score(part: Sequence[NumberedSong]) -> None:
            writer.write(self._scored(part))

        def blame(song: NumberedSong, reason: str) -> None:
            writer.write({song.key: Score.failed(reason)})

        # Gradients of rewards are of no use: no model's preparation of audio has any.
        with torch.no_grad():
            for batch in plan_batches(songs, self.limits, length=self._seconds):
                bisect(batch, score, blame=blame)
        return writer.scores

    def _seconds(self, numbered: NumberedSong) -> float:
        song = numbered.song
        audio: list[Any] = [song.audio] if song.ref_audio is None else [song.audio, song.ref_audio]
        return float(sum(min(one.shape[-1] / (song.sample_rate or 1), self.max_dur) for one in audio))

    def _scored(self, songs: Sequence[NumberedSong]) -> dict[str, Score]:
        used = [field for field in ("text", "lyrics") if field not in self.model.unused_inputs]
        words = {song.key: {field: str(getattr(song.song, field)) for field in used} for song in songs}
        texts = list(dict.fromkeys(words[song.key].get(field, "") for song in songs for field in ("text", "lyrics")))
        windows = self._embedded(songs, is_reference=False)
        of_references = {} if "ref_audio" in self.model.unused_inputs else self._embedded(songs, is_reference=True)
        tokens = dict(zip(texts, self.model.embed_texts(texts), strict=True))
        clips = [
            EmbeddedInput(
                windows=windows[song.key],
                text=tokens[words[song.key].get("text", "")],
                lyrics=tokens[words[song.key].get("lyrics", "")],
                ref_audio=of_references[song.key][0] if song.key in of_references else None,
            )
            for song in songs
        ]
        return read_answer([song.key for song in songs], self.model.score_embedded(clips), self.model.class_name)

    def _embedded(self, songs: Sequence[NumberedSong], *, is_reference: bool) -> dict[str, list[Tensor]]:
        """Return the windows' frames of songs, or of their references, by key."""
        seconds = self.model.audio_view(self.max_dur, is_reference=is_reference).seconds
        waveforms: dict[str, Tensor] = {}
        for song in songs:
            audio: Any = song.song.ref_audio if is_reference else song.song.audio
            if audio is not None:
                name = f"The reference of {song.name}" if is_reference else song.name
                found = mono(audio, int(song.song.sample_rate or 0), int(self.model.sr), seconds, name=name)
                waveforms[song.key] = found if self.model.embeds_on_device else found.cpu()
        if not waveforms:
            return {}
        embedded = self.model.embed_audio(list(waveforms.values()), self.max_dur, is_reference=is_reference)
        return dict(zip(waveforms, embedded, strict=True))


def mono(samples: Tensor, source_sr: int, sr: int, seconds: float | None, *, name: str) -> Tensor:
    """Return samples as a model hears them, on their device; what `audio.decode.to_mono` does on the CPU.

    Args:
        samples: [samples] or [channels, samples]; floating point with full scale 1, or integers with theirs.
        source_sr: Their sampling rate, Hz.
        sr: Sampling rate wanted, Hz.
        seconds: Kept from the start; None keeps all.
        name: What to call it in messages.

    Returns:
        float32 [samples].

    Raises:
        AudioError: It is empty, or no audio.
    """
    if samples.ndim not in (1, 2) or not samples.numel():
        raise AudioError(f"{name} has shape {list(samples.shape)}.", "A song is [samples] or [channels, samples].")
    if samples.ndim == 2 and len(samples) > MAX_CHANNELS:
        raise AudioError(
            f"{name} has shape {list(samples.shape)}: {len(samples)} channels.",
            f"A song is [channels, samples] with at most {MAX_CHANNELS} channels.",
        )
    needed = Start(seconds, RESAMPLER_CONTEXT).samples(source_sr)
    values = _full_scale_one(samples.detach()[..., :needed], name)
    # The peak of samples of which one is no number is none either: one question to the device answers both.
    peak = float(values.abs().amax())
    if not peak <= LOUDEST:
        raise AudioError(
            f"{name} has samples up to {peak:g}; full scale is 1.", "Is the generator's output scaled, and finite?"
        )
    with tensor_float32(False):  # PyTorch's default for convolutions on CUDA, of which 1 in 1,000 would be heard
        waveform = resample(values.mean(dim=0) if values.ndim == 2 else values, source_sr, sr)
    return waveform if seconds is None else waveform[: int(seconds * sr)]


def _full_scale_one(values: Tensor, name: str) -> Tensor:
    if values.is_floating_point():
        return values.float()
    if values.dtype in (torch.int16, torch.int32):
        return values.float() / -float(torch.iinfo(values.dtype).min)
    raise AudioError(f"{name} has dtype {values.dtype}.", "Samples are floating-point numbers, int16 or int32.")
