"""Addresses, as they may be shown."""

import re

_CREDENTIALS = re.compile(r"://[^/@\s]+@")


def without_credentials(uri: str) -> str:
    """Return a URI with `user:password@` blotted out.

    >>> without_credentials("https://me:secret@mirror.example/data")
    'https://***@mirror.example/data'
    """
    return _CREDENTIALS.sub("://***@", uri)
