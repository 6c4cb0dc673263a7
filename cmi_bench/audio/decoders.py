"""The decoding libraries of this machine, in words."""

import soundfile

from cmi_bench.audio import soundfile_reader, torchcodec_reader


def decoder_versions() -> dict[str, str]:
    """Return the versions of the libraries that are installed, by name, in the order in which they are asked."""
    versions = {soundfile_reader.NAME: f"{soundfile.__version__}, {soundfile.__libsndfile_version__}"}
    torchcodec = torchcodec_reader.torchcodec_version()
    return versions if torchcodec is None else versions | {torchcodec_reader.NAME: torchcodec}
