"""What is in the packs of a cache, and damage done to it."""

import numpy as np

from cmi_bench.scoring.pack_index import RECORD, hash_keys


def entries(folder):
    """Return how many entries lie in a folder and below; those of `notes` are none."""
    indexes = [path for path in folder.rglob("*.index") if path.parent.name != "notes"]
    return sum(path.stat().st_size for path in indexes) // RECORD.itemsize


def damage(folder, chosen=slice(None)):
    """Change the last byte of entries in a folder and below, and return how many.

    Args:
        folder: Where their packs are.
        chosen: A key; or a slice of them by size, smallest first.
    """
    places = []
    for path in folder.rglob("*.index"):
        for *halves, _, offset, length in np.fromfile(path, RECORD).tolist():
            if isinstance(chosen, slice) or halves == hash_keys([chosen])[0].tolist():
                places.append((length, path.with_suffix(".pack"), offset + length - 1))
    places = sorted(places)[chosen if isinstance(chosen, slice) else slice(None)]
    for _, path, place in places:
        content = bytearray(path.read_bytes())
        content[place] ^= 1
        path.write_bytes(content)
    return len(places)
