"""The columns of requests for scores, and where the audio is that they name."""

from cmi_bench.utils.addresses import Place, below, place_of

AUDIO, TEXT, LYRICS, REF_AUDIO = "audio", "text", "lyrics", "ref_audio"
"""What a request is made of; only the first is needed. Other columns are carried through."""


def audio_place(audio: str, root: Place) -> Place:
    """Return where audio is.

    Args:
        audio: As the request names it: an fsspec address, or a path.
        root: What paths are relative to.

    >>> audio_place("a.mp3", "s3://songs/2026"), audio_place("s3://songs/a.mp3", Path("/songs"))
    ('s3://songs/2026/a.mp3', 's3://songs/a.mp3')
    """
    place = place_of(audio)
    if isinstance(place, str) or place.is_absolute():
        return place
    return below(root, audio)
