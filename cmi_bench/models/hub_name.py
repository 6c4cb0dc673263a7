"""Names of models on the Hugging Face hub, with a revision if need be: "owner/name", "owner/name@revision"."""

import re
from typing import NamedTuple

_NAME = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)?(@\w[\w./-]*)?")


class HubName(NamedTuple):
    """A repository, and which state of it."""

    repo: str
    revision: str | None
    """Branch, tag or commit; None is the repository's main branch."""


def split_hub_name(name: str) -> HubName:
    """Return the parts of what is a name on the hub."""
    repo, _, revision = name.partition("@")
    return HubName(repo, revision or None)


def parse_hub_name(name: str) -> HubName | None:
    """Return what a name on the hub names; None if it cannot be one, as it is written.

    >>> parse_hub_name("HaiwenXia/CMI-RM@step_500")
    HubName(repo='HaiwenXia/CMI-RM', revision='step_500')
    >>> parse_hub_name("./runs/step_500") is None
    True
    """
    return split_hub_name(name) if _NAME.fullmatch(name) else None
