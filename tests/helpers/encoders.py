"""An embedding model in the small: frames of a waveform's samples, pooled by twos, and how often it was asked."""

import os
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch

from cmi_bench.models.base import AudioView, EmbeddedInput, EmbeddingModel

LOG = "FRAME_ENCODER_LOG"
"""Environment variable: a file that gets a line for each clip that is encoded, in all processes."""


class FrameEncoder(EmbeddingModel):
    """Two windows of frames [4, 2] for each clip, one for a reference; of a text as many tokens as it has letters."""

    sr = 8000
    identity = "frames and a head"
    audio_identity = "frames"
    text_identity = "letters"

    def __init__(self, *, scale=1.0, fail=()):
        self.scale = scale
        self.fail = fail
        """Numbers of samples of the clips that cannot be encoded."""
        self.encoded: list[int] = []
        self.texts: list[str] = []

    def score_batch(self, inputs, batch_size, max_dur, **kwargs):
        raise AssertionError("an embedding model is scored from embeddings")

    def audio_view(self, max_dur, *, is_reference):
        return AudioView(f"first {max_dur:g} s", max_dur)

    def embed_audio(self, waveforms, max_dur, *, is_reference):
        if any(len(waveform) in self.fail for waveform in waveforms):
            raise RuntimeError("no such length")
        self.encoded += [len(waveform) for waveform in waveforms]
        if LOG in os.environ:
            time.sleep(0.1)
            with Path(os.environ[LOG]).open("a") as file:
                file.writelines(f"{float(waveform.double().abs().sum())}\n" for waveform in waveforms)
        frames = [waveform[:16].reshape(2, 4, 2) * self.scale for waveform in waveforms]
        return [[one[0]] if is_reference else [one[0], one[1]] for one in frames]

    def embed_texts(self, texts):
        self.texts += texts
        return [torch.tensor([[float(ord(letter)), 1.0] for letter in text]).reshape(len(text), 2) for text in texts]

    def score_embedded(self, clips):
        return np.array([[float(len(clip.text)), float(clip.windows[0].mean())] for clip in clips])

    def pooling(self, kind):
        return "means of 2" if kind == "audio" else ""

    def pool(self, embedding, kind):
        return embedding.reshape(-1, 2, embedding.shape[1]).mean(dim=1) if kind == "audio" else embedding


class ShortEncoder(FrameEncoder):
    """Another encoder, which takes the first half of a clip, at twice the rate."""

    sr = 16000
    identity = "short frames and a head"
    audio_identity = "short frames"
    text_identity = "numbers of letters"

    def audio_view(self, max_dur, *, is_reference):
        return AudioView(f"first {max_dur / 2:g} s", max_dur / 2)


def pooled(model: EmbeddingModel, clips: Iterable[EmbeddedInput]) -> list[EmbeddedInput]:
    """Return embedded clips as a head takes them, pooled by the model that embedded them."""
    return [
        EmbeddedInput(
            [model.pool(window, "audio") for window in clip.windows],
            model.pool(clip.text, "text"),
            model.pool(clip.lyrics, "lyrics"),
            None if clip.ref_audio is None else model.pool(clip.ref_audio, "ref_audio"),
        )
        for clip in clips
    ]
