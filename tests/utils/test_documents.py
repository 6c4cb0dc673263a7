"""Documents that would exhaust memory, stack or time get one message each."""

import json
import os

import pytest

from cmi_bench.errors import UserError
from cmi_bench.models.config_files import read_mapping
from cmi_bench.utils.documents import parse_json, parse_yaml, read_document

LAUGHS = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 30))
BOMBS = {
    "deep JSON": ("a.json", "[" * 100_000, "not JSON|nested more than 100 deep"),
    "deep whole JSON": ("a.json", '{"a":' * 500 + "1" + "}" * 500, "nested more than 100 deep"),
    "deep YAML": ("a.yaml", "{a: " * 5_000 + "1" + "}" * 5_000, "nested more than 100 deep"),
    "deep lists in YAML": ("a.yaml", "[" * 5_000, "nested more than 100 deep"),
    "aliases of aliases": ("a.yaml", LAUGHS, "more than 20 aliases"),
    "digits in JSON": ("a.json", '{"a": ' + "9" * 10_000 + "}", "a number of too many digits"),
    "digits in YAML": ("a.yaml", "a: " + "9" * 10_000, "a number of too many digits"),
    "base 60 in YAML": ("a.yaml", "a: 1" + ":1" * 5_000, "a number of too many digits"),
    "no date": ("a.yaml", "a: 2001-99-99", "a value that cannot be read"),
    "large JSON": ("a.json", '{"a": "' + "x" * (17 * 2**20) + '"}', "more than 16,777,216 bytes"),
    "large YAML": ("a.yaml", "a: 1\n" * 250_000, "more than 1,048,576 bytes"),
    "code": ("a.yaml", "a: !!python/object/apply:os.system [exit]", "not YAML"),
    "a tab": ("a.yaml", "a:\n\t- b", "not YAML"),
}


@pytest.mark.parametrize(("name", "text", "says"), BOMBS.values(), ids=BOMBS)
@pytest.mark.parametrize("read", [read_document, read_mapping])
def test_a_document_that_is_a_bomb(tmp_path, read, name, text, says):
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=says) as error:
        read(tmp_path / name)
    assert str(tmp_path / name) in error.value.what
    assert error.value.hint


def test_a_pipe_is_no_document(tmp_path):
    os.mkfifo(tmp_path / "a.yaml")
    with pytest.raises(UserError, match="named pipe"):
        read_document(tmp_path / "a.yaml")


def test_documents_of_all_days(tmp_path):
    value = {"a": [1, 2.5, None, True, "\u2028"], "b": {"c": "x" * 5000, "version": "1.2.3"}, "n": 1e-5}
    (tmp_path / "a.json").write_text(json.dumps(value))
    assert read_document(tmp_path / "a.json") == parse_json(json.dumps(value), "here") == value
    (tmp_path / "a.yaml").write_text("\ufeffbase: &base {lr: 0.1}\nmodel: *base\n", encoding="utf-8")
    assert read_document(tmp_path / "a.yaml") == {"base": {"lr": 0.1}, "model": {"lr": 0.1}}
    assert parse_yaml("a: 12345678901234567890", "here") == {"a": 12345678901234567890}
