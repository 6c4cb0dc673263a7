"""The page `GET /docs`: the API's description for people, with examples; it loads nothing from anywhere.

FastAPI's own pages load their scripts from a server in the internet, and are blank where there is none.
"""

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, NamedTuple

from jinja2 import Template

from cmi_bench.reporting.html.format import template_environment


class ShownField(NamedTuple):
    """A field of a body."""

    name: str
    """With those it lies in: "songs.audio.part"."""
    type: str
    is_needed: bool
    says: str


class ShownBody(NamedTuple):
    """A body that an address takes or gives."""

    title: str
    """Its content type, or the status of the answer."""
    fields: list[ShownField]
    says: str


def api_page(description: Mapping[str, Any], address: str) -> str:
    """Return the page.

    Args:
        description: The API's, as `GET /openapi.json` has it.
        address: The server's, for the examples.
    """
    operations = [
        {
            "method": method.upper(),
            "path": path,
            "says": operation.get("description", ""),
            **_bodies(operation, description),
        }
        for path, methods in description["paths"].items()
        for method, operation in methods.items()
    ]
    return _template().render(info=description["info"], operations=operations, address=address.rstrip("/"))


@cache
def _template() -> Template:
    return template_environment("cmi_bench.serving").get_template("api.html.j2")


def _bodies(operation: Mapping[str, Any], description: Mapping[str, Any]) -> dict[str, Any]:
    taken = operation.get("requestBody", {}).get("content", {})
    given = {
        status: answer["content"]
        for status, answer in operation.get("responses", {}).items()
        if "application/json" in answer.get("content", {}) and status[0] == "2"
    }
    query = [
        ShownField(
            one["name"],
            _type(_resolved(one["schema"], description)),
            one.get("required", False),
            one["schema"].get("description", ""),
        )
        for one in operation.get("parameters", [])
    ]
    return {
        "query": query,
        "taken": [_body(kind, content["schema"], description) for kind, content in taken.items()],
        "given": [
            _body(f"{status}", content["application/json"]["schema"], description) for status, content in given.items()
        ],
    }


def _body(title: str, schema: Mapping[str, Any], description: Mapping[str, Any]) -> ShownBody:
    whole = _resolved(schema, description)
    return ShownBody(title, list(_fields(whole, description)), whole.get("description", ""))


def _fields(schema: Mapping[str, Any], description: Mapping[str, Any], before: str = "") -> Iterator[ShownField]:
    for name, own in schema.get("properties", {}).items():
        field = _resolved(own, description)
        says = own.get("description") or field.get("description", "")
        yield ShownField(before + name, _type(field), name in schema.get("required", ()), says)
        inner = _resolved(field.get("items", field), description)
        if before.count(".") < 2:
            yield from _fields(inner, description, f"{before}{name}.")


def _resolved(schema: Mapping[str, Any], description: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a schema itself, where there is a reference to it, or one of a type and null."""
    if "$ref" in schema:
        return _resolved(description["components"]["schemas"][schema["$ref"].rpartition("/")[2]], description)
    others = [one for one in schema.get("anyOf", ()) if one.get("type") != "null"]
    if len(others) == 1:
        return {**_resolved(others[0], description), "nullable": True}
    return schema


def _type(field: Mapping[str, Any]) -> str:
    kind = field.get("format") or field.get("type", "")
    kind = {"binary": "file", "array": "list"}.get(kind, kind)
    return f"{kind} or null" if field.get("nullable") else str(kind)
