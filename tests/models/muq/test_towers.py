"""The text tokenizer is read once for the models of one process."""

import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from cmi_bench.errors import UserError
from cmi_bench.models.muq import towers
from cmi_bench.models.muq.towers import TextTokenizer


def write(file, *words):
    tokenizer = Tokenizer(WordLevel({word: number for number, word in enumerate(("<unk>", *words))}, "<unk>"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.save(str(file))


def test_a_file_is_read_once_until_it_changes(tmp_path, monkeypatch):
    read = []

    class Reader:
        @staticmethod
        def from_file(name):
            read.append(name)
            return Tokenizer.from_file(name)

    monkeypatch.setattr(towers, "Tokenizer", Reader)
    file = tmp_path / "tokenizer.json"
    write(file, "slow", "fast")
    assert [TextTokenizer(file, 2).encode(["fast slow fast"]) for _ in range(2)] == [[[2, 1]]] * 2
    assert len(read) == 1
    assert TextTokenizer(file, 3).encode(["fast slow fast"]) == [[2, 1, 2]]  # another model's bound
    write(file, "slow", "slower", "fast")
    assert TextTokenizer(file, 3).encode(["fast slow fast"]) == [[3, 1, 3]]
    assert len(read) == 3


def test_a_file_that_is_none_or_missing_is_named(tmp_path):
    (tmp_path / "broken.json").write_text("{}")
    for name in ("broken.json", "missing.json"):
        with pytest.raises(UserError, match=f"Cannot read .*{name}"):
            TextTokenizer(tmp_path / name, 3)
