"""An extension for mkdocstrings: examples (`>>> ...`) that stand in a docstring's prose become blocks of code."""

import re
from typing import Any

import griffe

_DOCTEST = re.compile(r"^(?P<indent> *)>>> .*(?:\n(?P=indent)\S.*)*", re.MULTILINE)


class FencedDoctests(griffe.Extension):
    """Markdown would take `>>>` for a quotation."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Change the docstring of a module, class, function or attribute that has been read."""
        if obj.docstring is not None:
            fenced = r"\g<indent>```pycon\n\g<0>\n\g<indent>```"
            obj.docstring.value = _DOCTEST.sub(fenced, obj.docstring.value)
