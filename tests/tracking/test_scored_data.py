"""What identifies the rows that a run scored."""

import json
from dataclasses import replace
from pathlib import Path

from cmi_bench.data.fields import is_own
from cmi_bench.data.manifest import update_manifest
from cmi_bench.data.rows import load_rows
from cmi_bench.tracking.scored_data import describe_datasets, recorded_datasets
from cmi_bench.utils.files import content_key


def described(tiny, tmp_path, **changes):
    rows = [replace(row, **changes) for row in load_rows(Path(tiny) / "all_test.jsonl").rows]
    manifest = update_manifest(
        Path(tiny), tmp_path / "manifest.parquet", [one for row in rows for one in row.audio_files]
    )
    return {one.name: one for one in describe_datasets(rows, manifest)}


def test_each_dataset_has_its_rows_and_its_own_digest(tiny, tmp_path):
    found = described(tiny, tmp_path)
    assert {name: one.rows for name, one in found.items()} == {"PAM": 3, "MusicEval": 3, "MusicArena": 2, "CMI-Pref": 2}
    assert len({one.digest for one in found.values()}) == 4
    assert described(tiny, tmp_path) == found
    metadata = {"data": {"datasets": [vars(one) for one in found.values()]}}
    assert recorded_datasets(metadata) == found
    assert recorded_datasets({}) == {}


def test_a_row_that_is_changed_or_audio_that_is_other_makes_another_digest(tiny, tmp_path):
    before = described(tiny, tmp_path)
    row = next(one for one in load_rows(Path(tiny) / "all_test.jsonl").rows if one.dataset.name == "PAM")
    changed = described(tiny, tmp_path, raw={**row.raw, "musicality": 4.5})
    assert changed["PAM"].digest != before["PAM"].digest
    assert described(tiny, tmp_path, raw={**row.raw, "predicted_musicality": 4.5}) == described(
        tiny, tmp_path, raw=row.raw
    )
    audio = Path(tiny) / row.audio_a
    audio.write_bytes(audio.read_bytes()[:-100] + b"x" * 100)
    after = described(tiny, tmp_path)
    assert [name for name in before if before[name] != after[name]] == ["PAM"]


def test_the_digest_is_the_content_key_of_rows_and_audio(tiny, tmp_path):
    rows = load_rows(Path(tiny) / "all_test.jsonl").rows
    rows = [replace(row, raw=row.raw | {"prompt": 'ü "x"\n', "musicality": float("nan")}) for row in rows]
    manifest = update_manifest(
        Path(tiny), tmp_path / "manifest.parquet", [one for row in rows for one in row.audio_files]
    )
    for one in describe_datasets(rows, manifest):
        own = [row for row in rows if row.dataset.name == one.name]
        texts = [
            json.dumps({key: value for key, value in row.raw.items() if is_own(key)}, sort_keys=True) for row in own
        ]
        audio = manifest.audio_digest({path for row in own for path in row.audio_files})
        assert one.digest == content_key(rows=texts, audio=audio)
