"""JSON and YAML documents from outside, within bounds: none exhausts the memory, stack or time of its reader."""

import json
import re
from pathlib import Path
from typing import Any

import yaml

from cmi_bench.errors import UserError
from cmi_bench.utils.files import open_regular

MAX_DEPTH = 100
"""Lists and objects within one another; what is deeper breaks those who read it."""
MAX_BYTES = {".json": 16 * 2**20}
"""Of a document, by suffix."""
MAX_YAML_BYTES = 2**20
"""Of other documents; YAML is read 100 times as slowly as JSON."""
MAX_ALIASES = 20
"""Of a YAML document; a few that hold one another stand for more nodes than any memory has."""
MAX_DIGITS = 1000
"""Of a number in YAML; Python has its own bound for JSON's."""

_ESCAPED_HALF = re.compile(r"\\u[dD][89a-fA-F]")
_TOO_DEEP = f"lists or objects nested more than {MAX_DEPTH} deep."
_FLAT = "Write a flat object of fields."
_LONG_NUMBER = re.compile(rf"[-+0-9_:.]{{{MAX_DIGITS},}}")
_GET_AGAIN = "Get the file again, or point to another."


def read_document(file: Path) -> Any:
    """Read a JSON (`.json`) or YAML file.

    Raises:
        UserError: It cannot be read, is malformed, too large, nested too deeply, or holds a number of too many digits.
    """
    most = MAX_BYTES.get(file.suffix, MAX_YAML_BYTES)
    try:
        with open_regular(file) as opened:
            content = opened.read(most + 1)
        text = content.decode("utf-8-sig")
    except OSError as error:
        raise UserError(f"Cannot read {file}: {error.strerror}", _GET_AGAIN) from error
    except UnicodeDecodeError as error:
        raise UserError(f"Cannot read {file}: {error}", _GET_AGAIN) from error
    if len(content) > most:
        raise UserError(f"{file} has more than {most:,} bytes: too large for a configuration.", _GET_AGAIN)
    # YAML 1.1 reads JSON's 1e-05 as a string, so each format has its own reader.
    if file.suffix == ".json":
        return parse_json(text, str(file), hint=_GET_AGAIN)
    return parse_yaml(text, str(file), hint=_GET_AGAIN)


def parse_json(text: str, where: str, *, hint: str = "Write a JSON object.") -> Any:
    """Read a JSON document, and nothing that could not be written again.

    Args:
        text: The document.
        where: How messages name it.
        hint: What to write where it is no JSON.

    Raises:
        UserError: It is not JSON, nested too deeply, holds a number of thousands of digits or half a character; the
            message begins with `where`.
    """
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        place = f"column {error.colno}" if error.lineno == 1 else f"line {error.lineno}, column {error.colno}"
        raise UserError(f"{where}, {place}: not JSON ({error.msg}).", hint) from error
    except RecursionError as error:
        raise UserError(f"{where}: {_TOO_DEEP}", _FLAT) from error
    except ValueError as error:  # Python's bound on the digits of an integer
        raise UserError(f"{where}: a number of too many digits.", "Write it as text, or shorter.") from error
    if text.count("[") + text.count("{") > MAX_DEPTH and _depth(value) > MAX_DEPTH:
        raise UserError(f"{where}: {_TOO_DEEP}", _FLAT)
    if _ESCAPED_HALF.search(text):
        _check_characters(value, where)
    return value


def parse_yaml(text: str, where: str, *, hint: str = "Write a YAML mapping.") -> Any:
    """Read a YAML document without running code.

    Raises:
        UserError: It is malformed, nested too deeply, refers to itself too often, or holds a number of too many
            digits; the message begins with `where`.
    """
    try:
        _check_events(text, where)
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UserError(f"{where}: not YAML ({' '.join(str(error).split())}).", hint) from error
    except ValueError as error:  # such as a date that is none
        raise UserError(f"{where}: a value that cannot be read ({error}).", hint) from error


def _check_events(text: str, where: str) -> None:
    """Look at a YAML document's nesting, aliases and numbers before anything is built of it."""
    depth = aliases = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        aliases += isinstance(event, yaml.AliasEvent)
        if depth > MAX_DEPTH:
            raise UserError(f"{where}: {_TOO_DEEP}", _FLAT)
        if aliases > MAX_ALIASES:
            raise UserError(f"{where}: more than {MAX_ALIASES} aliases (*name).", "Write their values out.")
        if isinstance(event, yaml.ScalarEvent) and event.implicit[0] and _LONG_NUMBER.fullmatch(event.value):
            raise UserError(f"{where}: a number of too many digits.", "Write it as text, or shorter.")


def _depth(value: Any) -> int:
    """Return how deep lists and objects lie within one another; without recursion."""
    level, depth = [value], 0
    while level := [one for one in level if isinstance(one, dict | list)]:
        depth += 1
        level = [inner for one in level for inner in (one.values() if isinstance(one, dict) else one)]
    return depth


def _check_characters(value: Any, where: str) -> None:
    """Refuse lone surrogates, half of a character each: JSON can spell them, and no file or model can take them."""
    parts = value.items() if isinstance(value, dict) else [("", value)]
    for name, part in parts:
        try:
            json.dumps([name, part], ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            half = ascii(error.object[error.start])[1:-1]
            field = f" the field {name!a}" if name else ""
            raise UserError(
                f"{where}:{field} holds half a character ({half}, a lone surrogate).", "Write the whole character."
            ) from error
