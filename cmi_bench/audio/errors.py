"""The error of audio that cannot be used."""

from cmi_bench.errors import UserError


class AudioError(UserError):
    """A file that cannot be decoded."""
