"""The manifest of a data root: what its audio files are, so that nobody has to open them all again."""

from cmi_bench.data.manifest.record import AudioRecord
from cmi_bench.data.manifest.table import Manifest, read_manifest
from cmi_bench.data.manifest.update import update_manifest

__all__ = ["AudioRecord", "Manifest", "read_manifest", "update_manifest"]
