"""MuQ-MuLan behind the benchmark's contract."""

from collections.abc import Sequence

import torch
from torch import Tensor

from cmi_bench.models.cmi_rm.config import read_mulan_config, read_muq_config
from cmi_bench.models.cmi_rm.config_file import read_config
from cmi_bench.models.cmi_rm.fast.transfer import to_device
from cmi_bench.models.cmi_rm.mel import MIN_SAMPLES, SAMPLE_RATE
from cmi_bench.models.cmi_rm.precision import arithmetic, checked_precision, warn_if_slow
from cmi_bench.models.cmi_rm.sequences import batches_of, equal_batches_of, in_batches
from cmi_bench.models.cmi_rm.tokenizer import TextTokenizer
from cmi_bench.models.hub import EITHER_WEIGHTS, find_folder, find_model
from cmi_bench.models.muq_mulan.network import Towers, load_network
from cmi_bench.models.muq_mulan.windows import windows_of
from cmi_bench.models.parts import ENCODER_CONFIG, TOKENIZER
from cmi_bench.models.text_similarity import TextSimilarity

WINDOW_BATCH = 16
"""Windows, or texts, encoded at once."""


class MuQMuLan(TextSimilarity):
    """Cosine similarity of music and prompt, over windows of 10 s; both in English or Chinese."""

    family = "muq_mulan"
    min_samples = MIN_SAMPLES

    def __init__(
        self,
        checkpoint: str,
        reference: str = "ignore",
        device: str | torch.device = "cpu",
        precision: str = "32",
    ) -> None:
        """Load the model.

        Args:
            checkpoint: MuQ-MuLan's folder or hub id; MuQ's and XLM-RoBERTa's configurations are found as it names them.
            reference: What reference audio contributes: "ignore", "mean" or "only"; see `TextSimilarity`.
            device: Torch device.
            precision: "32" or "bf16".

        Raises:
            UserError: A file is missing or does not fit, or an option is not understood.
        """
        super().__init__(reference)
        self.precision = checked_precision(precision)
        found = find_model(checkpoint, [ENCODER_CONFIG], weights=EITHER_WEIGHTS)
        file = found.folder / ENCODER_CONFIG
        mulan, sizes = read_mulan_config(file), read_config(file).section("mulan")
        muq = find_folder(mulan.muq_name, [ENCODER_CONFIG], named_in=file) / ENCODER_CONFIG
        xlmr = find_folder(mulan.xlmr_name, [ENCODER_CONFIG, TOKENIZER], named_in=file)
        self.window = int(sizes.get("clip_secs", float) * self.sr)
        self.chunk_seconds = self.window / self.sr
        self.files = (found.weights, file, muq, xlmr / ENCODER_CONFIG, xlmr / TOKENIZER)
        self.tokenizer = TextTokenizer(xlmr / TOKENIZER, mulan.max_seq_len)
        self.network = load_network(
            mulan,
            read_muq_config(muq),
            xlmr_config=xlmr / ENCODER_CONFIG,
            dim_latent=sizes.size("dim_latent"),
            weights=found.weights,
        )
        self.to(device)

    def to(self, device: str | torch.device) -> "MuQMuLan":
        """Move the network to a torch device."""
        self.device = torch.device(device)
        warn_if_slow(self.precision, self.device)
        self.towers = Towers(self.network, self.device, self.precision)
        return self

    @property
    def sr(self) -> int:
        """Sampling rate in Hz of the waveforms the model takes."""
        return SAMPLE_RATE

    def embed_heard(self, waveforms: Sequence[Tensor]) -> list[Tensor]:
        """Embed clips [samples]: of each the mean of its windows' latents, float32 [1, dim_latent] on the CPU."""
        cut = [windows_of(waveform, self.window) for waveform in waveforms]
        latents = iter(self._encode([window for windows in cut for window in windows]))
        return [torch.stack([next(latents) for _ in windows]).mean(dim=0, keepdim=True) for windows in cut]

    def _encode(self, windows: Sequence[Tensor]) -> list[Tensor]:
        def latents(batch: Sequence[int]) -> Tensor:
            return self.towers.audio(to_device(torch.stack([windows[index] for index in batch]), self.device)).cpu()

        with arithmetic(self.precision, self.device):
            return in_batches(equal_batches_of([len(window) for window in windows], WINDOW_BATCH), latents)

    def embed_words(self, texts: Sequence[str]) -> list[Tensor]:
        """Embed texts: of each its latent, float32 [1, dim_latent] on the CPU."""
        ids = self.tokenizer.encode(texts)
        with arithmetic(self.precision, self.device):
            return in_batches(
                batches_of([len(tokens) for tokens in ids], WINDOW_BATCH),
                lambda batch: self.towers.text([ids[index] for index in batch]).cpu()[:, None],
            )
