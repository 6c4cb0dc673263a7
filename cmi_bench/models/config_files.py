"""Configurations read into pydantic models: files that come with model weights, and options of `conf/model/`.

A mistake is answered with a `UserError` that names the file or option, the key, its value and what is expected.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails, PydanticCustomError

from cmi_bench.errors import UserError, did_you_mean
from cmi_bench.utils.documents import read_document


def key_error(what: str, hint: str = "", *, key: str = "") -> PydanticCustomError:
    """Return the error for a validator to raise; its message becomes "FILE: KEY what".

    Args:
        what: What is wrong, such as "is 4; expected an odd number."
        hint: What to do about it.
        key: Which key of the section, where the validator is one of a whole section.
    """
    return PydanticCustomError("key_error", "{what}", {"what": what, "hint": hint, "key": key})


def one_of(*known: str) -> AfterValidator:
    """Return a validator that accepts these strings."""

    def check(value: str) -> str:
        if value not in known:
            raise key_error(f"is {value!r}.", did_you_mean(value, known))
        return value

    return AfterValidator(check)


Size = Annotated[int, Field(ge=1)]
"""A whole number of at least 1."""


class ConfigSection(BaseModel):
    """A mapping in a configuration file.

    Types are strict, but an integer passes as a float. Null is as good as absent. Keys without a field are ignored
    unless a subclass sets `extra="forbid"`.
    """

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore", populate_by_name=True, protected_namespaces=())

    @model_validator(mode="before")
    @classmethod
    def _check_keys(cls, values: Any) -> Any:
        if not isinstance(values, Mapping):
            return values
        known = [field.alias or name for name, field in cls.model_fields.items()]
        if cls.model_config.get("extra") == "forbid":
            for key in values:
                if key not in known:
                    raise key_error("is not a known key.", did_you_mean(str(key), known), key=str(key))
        return {key: value for key, value in values.items() if value is not None}


SectionT = TypeVar("SectionT", bound=ConfigSection)


def read_config_file(file: Path, kind: type[SectionT]) -> SectionT:
    """Read a JSON (`.json`) or YAML file into a model.

    Raises:
        UserError: The file cannot be read or is malformed, or a key is missing or wrong; the message names it.
    """
    values = read_mapping(file)
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise _user_error(f"{file}: ", values, error.errors(include_url=False)[0]) from None


def read_options(values: Mapping[str, Any], kind: type[SectionT], *, name: str = "model") -> SectionT:
    """Read options of the configuration into a model.

    Args:
        values: The options.
        kind: The model.
        name: Where they are in the configuration, such as "model.calls".

    Raises:
        UserError: An option is missing, unknown or wrong; the message names it as `name.option`.
    """
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise _user_error(f"{name}.", values, error.errors(include_url=False)[0]) from None


def read_mapping(file: Path) -> Mapping[str, Any]:
    """Read a JSON (`.json`) or YAML file that holds a mapping.

    Raises:
        UserError: It cannot be read, see `read_document`, or holds something else.
    """
    values = read_document(file)
    if not isinstance(values, Mapping):
        raise UserError(f"{file} holds no mapping of keys to values.", "Is it the model's own configuration?")
    return values


_EXPECTED = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "string_type": "a string",
    "bool_type": "true or false",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "enum": "{expected}",
    "finite_number": "a finite number",
    "greater_than": "more than {gt}",
    "greater_than_equal": "at least {ge}",
}
"""What is expected, by the type of pydantic's error; its context fills the braces."""


def _user_error(where: str, values: Mapping[str, Any], error: ErrorDetails) -> UserError:
    """Return one of pydantic's errors as a message for people; `where` stands before the key."""
    context = error.get("ctx", {})
    keys = [*map(str, error["loc"]), *filter(None, [context.get("key")])]
    name, value = ".".join(keys), error["input"]
    if error["type"] == "missing":
        return UserError(f"{where}{name} is missing.", did_you_mean(keys[-1], _keys_at(values, keys[:-1])))
    if error["type"] == "key_error":
        return UserError(f"{where}{name} {context['what']}", context["hint"])
    expected = _EXPECTED.get(error["type"], error["msg"]).format(**context)
    return UserError(f"{where}{name} is {value!r}; expected {expected}.")


def _keys_at(values: Any, path: Sequence[str]) -> list[str]:
    """Return the keys of the mapping at a path of keys."""
    for key in path:
        values = values[key]
    return [*map(str, values)]
