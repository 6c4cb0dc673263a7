"""The towers of MuQ-MuLan: audio (MuQ, a projection, a transformer) and text (XLM-RoBERTa, a transformer)."""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from cmi_bench.errors import UserError
from cmi_bench.models.muq.config import MulanConfig, MuqConfig, read_xlm_roberta_config
from cmi_bench.models.muq.encoder import Muq
from cmi_bench.models.muq.transformer import Transformer
from cmi_bench.models.muq.xlm_roberta import XlmRoberta


class AudioTower(nn.Module):
    """Waveform chunks to frames."""

    def __init__(self, mulan: MulanConfig, muq: MuqConfig) -> None:
        super().__init__()
        self.muq = Muq(muq)
        self.proj = nn.Linear(mulan.audio_model.dim, mulan.audio_transformer.dim)
        self.transformer = Transformer(mulan.audio_transformer)

    def forward(self, chunks: Tensor) -> Tensor:
        """Encode chunks by themselves.

        Args:
            chunks: float32 [batch, samples] at 24 kHz: of one length, for a frame depends on all of its
                chunk and padding would change it.

        Returns:
            Frames [batch, time, dim].
        """
        return self.encode_mel(self.muq.mel(chunks))

    def encode_mel(self, mel: Tensor) -> Tensor:
        """Encode spectrograms [batch, n_mels, time] of chunks to frames [batch, time, dim]."""
        frames: Tensor = self.transformer(self.proj(self.muq.encode_mel(mel)).float())
        return frames


class TextTower(nn.Module):
    """Token ids to token embeddings."""

    def __init__(self, mulan: MulanConfig, xlmr_config: Path) -> None:
        """Build the tower; `xlmr_config` is XLM-RoBERTa's `config.json`."""
        super().__init__()
        dim, width = mulan.text_transformer.dim, mulan.text_model.dim
        xlmr = read_xlm_roberta_config(xlmr_config)
        self.pad_id = xlmr.pad_id
        self.model = XlmRoberta(xlmr)
        self.proj = nn.Linear(width, dim) if width not in (None, dim) else nn.Identity()
        self.transformer = Transformer(mulan.text_transformer)

    def forward(self, tokens: Sequence[Sequence[int]]) -> list[Tensor]:
        """Embed tokenized texts; no embedding depends on the other texts.

        Returns:
            For each text [its tokens, dim], the special tokens included.
        """
        lengths = [len(ids) for ids in tokens]
        rows = [torch.tensor(ids) for ids in tokens]
        device = self.model.embeddings.word_embeddings.weight.device
        ids = pad_sequence(rows, batch_first=True, padding_value=self.pad_id).to(device)
        valid = pad_sequence([torch.ones_like(row, dtype=torch.bool) for row in rows], batch_first=True).to(device)
        embedded = self.transformer(self.proj(self.model(ids, valid)), valid)
        return [row[:length] for row, length in zip(embedded, lengths, strict=True)]


MAX_TOKENS = 512
"""Neither has positions beyond."""


@lru_cache(maxsize=1)
def _read_tokenizer(file: Path, state: tuple[int, int, int], max_tokens: int) -> Tokenizer:
    """Read a tokenizer once for all models that share it: that of XLM-RoBERTa takes a second.

    Args:
        file: `tokenizer.json`.
        state: Tells versions of it apart.
        max_tokens: Longer texts are cut to this.
    """
    tokenizer = Tokenizer.from_file(str(file))
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_tokens)
    return tokenizer


class TextTokenizer:
    """Texts to token ids."""

    def __init__(self, file: Path, max_tokens: int) -> None:
        """Read a tokenizer.

        Args:
            file: `tokenizer.json`.
            max_tokens: Longer texts are cut to this; at most 512 count.

        Raises:
            UserError: The file is no tokenizer.
        """
        try:
            status = file.stat()
            state = (status.st_ino, status.st_size, status.st_ctime_ns)
            self._tokenizer = _read_tokenizer(file, state, min(max_tokens, MAX_TOKENS))
        except Exception as error:  # the library raises nothing narrower
            raise UserError(f"Cannot read {file}: {error}", "Get it again.") from error

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the ids of each text, between the two special tokens."""
        # One at a time: the library's threads would complain about the data loader's forks.
        return [list(self._tokenizer.encode(text).ids) for text in texts]
