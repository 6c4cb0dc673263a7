"""Content addresses: names that follow from what is named, and from nothing else."""

import hashlib
import json


def content_key(**parts: object) -> str:
    """Return the address of what is described by plain values: SHA-256, hexadecimal.

    >>> content_key(audio="ab", view="final") == content_key(view="final", audio="ab")
    True
    """
    text = json.dumps(parts, sort_keys=True, ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
