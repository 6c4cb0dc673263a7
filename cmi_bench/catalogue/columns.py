"""The columns of requests for scores, and where the audio is that they name."""

from pathlib import Path

AUDIO, TEXT, LYRICS, REF_AUDIO = "audio", "text", "lyrics", "ref_audio"
"""What a request is made of; only the first is needed. Other columns are carried through."""


def is_address(place: str) -> bool:
    """Tell whether a place is an fsspec address, such as s3://bucket/song.mp3, and no path."""
    return "://" in place


def place_of(audio: str, root: str) -> str:
    """Return where audio is: a path, or an fsspec address.

    Args:
        audio: As the request names it.
        root: What paths are relative to: a folder, or an fsspec address.

    >>> place_of("a.mp3", "s3://songs/2026"), place_of("/a.mp3", "/songs"), place_of("s3://b/a.mp3", "/songs")
    ('s3://songs/2026/a.mp3', '/a.mp3', 's3://b/a.mp3')
    """
    if is_address(audio):
        return audio
    return f"{root.rstrip('/')}/{audio}" if is_address(root) else str(Path(root) / audio)
