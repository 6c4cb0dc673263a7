"""CLAP behind the benchmark's contract."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from cmi_bench.models.clap.load import load_clap
from cmi_bench.models.clap.mel import ClapMel
from cmi_bench.models.clap.windows import windows_of
from cmi_bench.models.cmi_rm.fast.transfer import to_device
from cmi_bench.models.cmi_rm.precision import arithmetic, checked_precision, warn_if_slow
from cmi_bench.models.cmi_rm.sequences import batches_of, in_batches
from cmi_bench.models.hub import EITHER_WEIGHTS, find_model
from cmi_bench.models.parts import ENCODER_CONFIG, PREPROCESSOR, TOKENIZER
from cmi_bench.models.text_similarity import TextSimilarity

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

    def embed_heard(self, waveforms: Sequence[Tensor]) -> list[Tensor]:
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

    def embed_words(self, texts: Sequence[str]) -> list[Tensor]:
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
