"""`metadata.json`: everything needed to say what was run."""

import json
import re
import sys
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from cmi_bench.audio.decoders import decoder_versions
from cmi_bench.config import Config
from cmi_bench.reporting.atomic import write_text_atomic
from cmi_bench.tracking.provenance import file_digest, git_state, machine, versions

_CREDENTIALS = re.compile(r"://[^/@\s]+@")


def resolved_config(config: Config) -> dict[str, Any]:
    """Return the configuration as plain values, without the credentials of a tracking URI."""
    plain = OmegaConf.to_container(OmegaConf.structured(config), enum_to_str=True)
    assert isinstance(plain, dict)
    plain["tracking"]["uri"] = without_credentials(plain["tracking"]["uri"])
    return {str(key): value for key, value in plain.items()}


def without_credentials(uri: str | None) -> str | None:
    """Return a URI with `user:password@` blotted out."""
    return None if uri is None else _CREDENTIALS.sub("://***@", uri)


def run_metadata(config: Config, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Collect what is known of a run: the command, configuration, code, versions and machine.

    Args:
        config: The run's configuration.
        facts: What only the task knows (model, device, counts, seconds), merged in. The rows' file is described where
            the task has `data` to say.
    """
    rows = {"jsonl": config.data.jsonl, "jsonl_sha256": file_digest(Path(config.data.jsonl))} if "data" in facts else {}
    return {
        "argv": [without_credentials(word) for word in sys.argv],
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "config": resolved_config(config),
        "seed": config.seed,
        "decoder": "; ".join(f"{name} {version}" for name, version in decoder_versions().items()),
        "git": asdict(git_state(Path(__file__).parent)),
        "versions": versions(),
        "machine": machine(),
        **facts,
        "data": rows | facts.get("data", {}),
    }


def write_metadata(path: Path, metadata: Mapping[str, Any]) -> None:
    """Write `metadata.json`; a run does so at its start and again, with counts and times, at its end."""
    write_text_atomic(path, json.dumps(metadata, indent=2, ensure_ascii=False) + "\n")
