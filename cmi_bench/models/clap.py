"""CLAP of LAION: one space for audio and text.

Read a `ClapModel` of `transformers`, strictly.

Log-mel spectrogram as CLAP hears it.

CLAP behind the benchmark's contract.

The windows in which CLAP listens to a clip: fixed ones, where its own code crops at random.
"""

import pickle
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence
from transformers import ClapFeatureExtractor, ClapModel
from transformers.utils import logging as hf_logging

from cmi_bench.errors import UserError
from cmi_bench.models.batching import arithmetic, batches_of, checked_precision, in_batches, to_device, warn_if_slow
from cmi_bench.models.embedding import TextSimilarity
from cmi_bench.models.hub import EITHER_WEIGHTS, ENCODER_CONFIG, PREPROCESSOR, TOKENIZER, ModelFolder, find_model
from cmi_bench.models.muq.towers import TextTokenizer
from cmi_bench.models.weights import WHOLE, refuse

NOT_USED = ("*.num_batches_tracked", "*.position_ids", "*.token_type_ids", "*.relative_position_index")
"""Constants that older files hold."""


@dataclass(frozen=True)
class LoadedClap:
    """The network, and what prepares its inputs."""

    network: ClapModel
    """On the CPU, in float32, every tensor from the file."""
    extractor: ClapFeatureExtractor
    tokenizer: TextTokenizer
    files: tuple[Path, ...]
    """Whatever makes the scores what they are: weights, configurations, tokenizer."""


def load_clap(found: ModelFolder) -> LoadedClap:
    """Read the model in a folder.

    Raises:
        UserError: A file cannot be read, or a tensor is missing, unexpected or of another shape.
    """
    try:
        with _quietly():
            network, info = ClapModel.from_pretrained(
                found.folder, dtype=torch.float32, local_files_only=True, output_loading_info=True
            )
            extractor = ClapFeatureExtractor.from_pretrained(found.folder, local_files_only=True)
    except (OSError, RuntimeError, ValueError, KeyError, SafetensorError, pickle.UnpicklingError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise UserError(f"Cannot read CLAP in {found.folder}: {reason}", "Get the model again, all of it.") from error
    refuse("missing", info["missing_keys"], [found.weights], WHOLE)
    refuse("misshapen", (str(one[0]) for one in info["mismatched_keys"]), [found.weights], WHOLE)
    unexpected = [name for name in info["unexpected_keys"] if not any(fnmatchcase(name, one) for one in NOT_USED)]
    refuse("unexpected", unexpected, [found.weights], "Does the configuration belong to these weights?")
    if extractor.padding != "repeatpad":
        raise UserError(f"{found.folder / PREPROCESSOR}: padding is {extractor.padding!r}; expected 'repeatpad'.")
    text = network.config.text_config
    return LoadedClap(
        network=network.eval().requires_grad_(False),
        extractor=extractor,
        tokenizer=TextTokenizer(found.folder / TOKENIZER, text.max_position_embeddings - text.pad_token_id - 1),
        files=(found.weights, *(found.folder / name for name in (ENCODER_CONFIG, PREPROCESSOR, TOKENIZER))),
    )


@contextmanager
def _quietly() -> Iterator[None]:
    """Keep the library's bars and warnings off the screen; what they say is checked here."""
    verbosity, bars = hf_logging.get_verbosity(), hf_logging.is_progress_bar_enabled()
    hf_logging.set_verbosity_error()
    hf_logging.disable_progress_bar()
    try:
        yield
    finally:
        hf_logging.set_verbosity(verbosity)
        if bars:
            hf_logging.enable_progress_bar()


POWER_FLOOR = 1e-10
FUSION_CROPS = 4
"""Spectrograms that a fusing model wants: the whole clip and three crops, all the same of a clip of one window."""


class ClapMel(nn.Module):
    """Mel power in dB of windows, equal to that of `transformers.ClapFeatureExtractor`.

    That one works on the CPU, 16 ms for each window, which on a GPU would take longer than the network. In float64,
    as there: single precision would lift the quiet bands of loud music.
    """

    window: Tensor
    filters: Tensor

    def __init__(self, extractor: ClapFeatureExtractor) -> None:
        super().__init__()
        self.size = extractor.fft_window_size
        self.hop_length = extractor.hop_length
        self.is_fused = extractor.truncation == "fusion"
        filters = extractor.mel_filters if self.is_fused else extractor.mel_filters_slaney
        self.register_buffer("window", torch.hann_window(self.size, dtype=torch.float64), persistent=False)
        self.register_buffer("filters", torch.from_numpy(filters).double(), persistent=False)

    def forward(self, windows: Tensor) -> Tensor:
        """Transform windows float32 [batch, samples] to float32 [batch, crops, samples // hop_length + 1, mel]."""
        with torch.autocast(windows.device.type, enabled=False):
            spectrum = torch.stft(
                windows.double(),
                self.size,
                self.hop_length,
                window=self.window,
                pad_mode="reflect",
                return_complex=True,
            )
            power = spectrum.abs().square().transpose(1, 2) @ self.filters
            decibels = (10.0 * power.clamp(min=POWER_FLOOR).log10()).float()[:, None]
        return decibels.expand(-1, FUSION_CROPS, -1, -1) if self.is_fused else decibels


def windows_of(waveform: Tensor, size: int) -> list[Tensor]:
    """Cut a waveform [samples] into windows of `size` samples that together are all of it.

    They follow each other without overlap, but the last one ends where the clip ends and may overlap the one before.
    A clip shorter than a window is repeated as often as it fits, and filled up with silence ("repeatpad", as in
    CLAP's training).
    """
    samples = len(waveform)
    if samples < size:
        repeated = waveform.repeat(size // samples)
        return [F.pad(repeated, (0, size - len(repeated)))]
    starts = list(range(0, samples - size + 1, size))
    if starts[-1] + size < samples:
        starts.append(samples - size)
    return [waveform[start : start + size] for start in starts]


AT_ONCE = 16
"""Windows, or texts, encoded at once."""


class Clap(TextSimilarity):
    """Cosine similarity of audio and prompt, over windows of 10 s; prompts in English."""

    family = "clap"

    def __init__(
        self,
        checkpoint: str,
        reference: str = "ignore",
        device: str | torch.device = "cpu",
        precision: str = "32",
    ) -> None:
        """Load the model.

        Args:
            checkpoint: Folder or hub id of a `ClapModel`.
            reference: What reference audio contributes: "ignore", "mean" or "only"; see `TextSimilarity`.
            device: Torch device.
            precision: "32" or "bf16".

        Raises:
            UserError: A file is missing or does not fit, or an option is not understood.
        """
        super().__init__(reference)
        self.precision = checked_precision(precision)
        self.loaded = load_clap(
            find_model(checkpoint, [ENCODER_CONFIG, PREPROCESSOR, TOKENIZER], weights=EITHER_WEIGHTS)
        )
        self.files = self.loaded.files
        self.window = int(self.loaded.extractor.nb_max_samples)
        self.chunk_seconds = self.window / self.sr
        self.to(device)

    def to(self, device: str | torch.device) -> "Clap":
        """Move the network to a torch device."""
        self.device = torch.device(device)
        warn_if_slow(self.precision, self.device)
        self.network = self.loaded.network.to(self.device)
        self.mel = ClapMel(self.loaded.extractor).to(self.device)
        return self

    @property
    def sr(self) -> int:
        """Sampling rate in Hz of the waveforms the model takes."""
        return int(self.loaded.extractor.sampling_rate)

    def encode_waveforms(self, waveforms: Sequence[Tensor]) -> list[Tensor]:
        """Embed clips [samples]: of each the mean of its windows' latents, float32 [1, dim] on the CPU."""
        cut = [windows_of(waveform, self.window) for waveform in waveforms]
        windows = [window for clip in cut for window in clip]
        with arithmetic(self.precision, self.device):
            found = [self._encode(torch.stack(windows[i : i + AT_ONCE])) for i in range(0, len(windows), AT_ONCE)]
        latents = torch.split(torch.cat(found), [len(clip) for clip in cut])
        return [one.mean(dim=0, keepdim=True) for one in latents]

    def _encode(self, windows: Tensor) -> Tensor:
        features = self.mel(to_device(windows, self.device))
        # No window is longer than the model's own, so that a fusing model has nothing to fuse.
        is_longer = torch.zeros(len(windows), 1, dtype=torch.bool, device=self.device)
        found = self.network.get_audio_features(input_features=features, is_longer=is_longer).pooler_output
        return F.normalize(found.float(), dim=-1).cpu()

    def encode_texts(self, texts: Sequence[str]) -> list[Tensor]:
        """Embed texts: of each its latent, float32 [1, dim] on the CPU."""
        ids = [torch.tensor(tokens) for tokens in self.loaded.tokenizer.encode(texts)]
        with arithmetic(self.precision, self.device):
            return in_batches(
                batches_of([len(tokens) for tokens in ids], AT_ONCE),
                lambda batch: self._read_tokens([ids[index] for index in batch])[:, None],
            )

    def _read_tokens(self, ids: Sequence[Tensor]) -> Tensor:
        padding = self.network.config.text_config.pad_token_id
        tokens = pad_sequence(list(ids), batch_first=True, padding_value=padding).to(self.device)
        valid = pad_sequence([torch.ones_like(one) for one in ids], batch_first=True).to(self.device)
        found = self.network.get_text_features(input_ids=tokens, attention_mask=valid).pooler_output
        return F.normalize(found.float(), dim=-1).cpu()
