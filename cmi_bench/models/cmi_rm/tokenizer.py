"""The tokenizer of XLM-RoBERTa, or of RoBERTa, as its `tokenizer.json` says."""

from collections.abc import Sequence
from pathlib import Path

from tokenizers import Tokenizer

from cmi_bench.errors import UserError

MAX_TOKENS = 512
"""Neither has positions beyond."""


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
            self._tokenizer = Tokenizer.from_file(str(file))
        except Exception as error:  # the library raises nothing narrower
            raise UserError(f"Cannot read {file}: {error}", "Get it again.") from error
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(min(max_tokens, MAX_TOKENS))

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the ids of each text, between the two special tokens."""
        # One at a time: the library's threads would complain about the data loader's forks.
        return [list(self._tokenizer.encode(text).ids) for text in texts]
