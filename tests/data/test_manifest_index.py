import hashlib

import soundfile

from cmi_bench.data.audio_info import FileIndex, ManifestIndex
from cmi_bench.data.manifest import update_manifest


def test_a_file_is_read_only_where_the_manifest_does_not_know_it(tiny, tmp_path, monkeypatch):
    manifest = update_manifest(tiny, tiny / "manifest.parquet", ["pam/0.wav", "pam/1.wav"])
    index = ManifestIndex(tiny, manifest)
    asked = []
    monkeypatch.setattr(FileIndex, "facts", lambda _self, path: asked.append(path))
    known = index.facts(tiny / "pam/0.wav")
    assert known.digest == hashlib.sha256((tiny / "pam/0.wav").read_bytes()).hexdigest()
    assert known.seconds == 0.4
    assert asked == []
    soundfile.write(tiny / "pam/1.wav", [0.0] * 99, 8000)
    others = [tiny / "pam/1.wav", tiny / "pam/2.wav", tmp_path / "elsewhere.wav"]
    for path in others:
        index.facts(path)
    assert asked == others
