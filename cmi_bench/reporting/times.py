"""Where the time of a run went, in a line or two for people."""

from collections.abc import Mapping
from typing import Any

from cmi_bench.scoring.run_stats import PARTS
from cmi_bench.tracking.metadata import look_up

NAMES = {
    "load": "loading the model",
    "wait": "waiting for audio",
    "encode": "encoding",
    "head": "scoring",
    "score": "scoring",
    "write": "writing",
    "check": "batch check",
    "profile": "profiling",
}
LEAST = 0.01
"""A smaller share is among the rest."""
LEAST_DECODED = 0.1
"""Seconds of decoding that are worth a word."""


def describe_times(metadata: Mapping[str, Any], done: str = "Scored") -> str:
    """Return where the wall time of a run went, and what was done beside; "" of a run that computed nothing.

    Args:
        metadata: As written to `metadata.json` at the end.
        done: What the run has done.
    """
    shares, seconds = look_up(metadata, "shares_of_wall") or {}, look_up(metadata, "seconds") or {}
    if not any(seconds.get(name) for name in ("encode", "head", "score")):
        return ""
    decoded = seconds.get("decode", 0.0)
    names = NAMES if decoded > LEAST_DECODED else NAMES | {"wait": "reading embeddings"}
    shown = {names[name]: shares[name] for name in PARTS if shares.get(name, 0.0) >= LEAST}
    shown["start and rest"] = 1 - sum(shown.values())
    parts = [f"{100 * share:.0f} % {name}" for name, share in shown.items()]
    processes = metadata["processes"]
    shared = f" in {processes} processes" if processes > 1 else ""
    line = f"{done} in {seconds['wall']:.1f} s{shared}: {', '.join(parts)}."
    more = [_decoding(decoded, metadata)] if decoded > LEAST_DECODED else []
    share = look_up(metadata, "encoding", "share_of_best")
    if share is not None:
        more.append(f"Encoding ran at {100 * share:.0f} % of the device's best rate.")
    return "\n".join([line, " ".join(more)]) if more else line


def _decoding(seconds: float, metadata: Mapping[str, Any]) -> str:
    workers = look_up(metadata, "config", "workers")
    if not workers:
        return f"Decoding took {seconds:.1f} s, in which the model waited; workers=2 decodes beside it."
    number = workers * metadata["processes"]
    return f"Decoding took {seconds:.1f} s, beside that in {number} worker{'s' if number > 1 else ''}."
