"""The parity bundle's audio as rows to be scored."""

import json
import shutil
from pathlib import Path

BUNDLE = Path(__file__).parents[1] / "data/parity/cmi_rm"


def write_parity_rows(root: Path) -> Path:
    """Make a data root of six pairs of the bundle's items; audio, prompts and references are used again and again.

    Returns:
        The rows' file.
    """
    shutil.copytree(BUNDLE / "audio", root)
    items = json.loads((BUNDLE / "expected.json").read_text())["items"]
    rows = [
        {"source": "cmi-arena-annotation", "split": "test", "audio-path": item["audio"],
         "audio2": items[index - 1]["audio"], "prompt": item["text"], "lyrics": item["lyrics"],
         "ref-audio-path": item["ref_audio"] or "", "preference-musicality": "model_a",
         "preference-alignment": "model_b"}
        for index, item in enumerate(items)
    ]  # fmt: skip
    file = root / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file
