"""What a task with a model writes down of itself."""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from cmi_bench.config import Config
from cmi_bench.inference.devices import Devices
from cmi_bench.inference.memory import peak_memory
from cmi_bench.models.contract import RewardModel
from cmi_bench.ranks import is_rank_zero
from cmi_bench.tracking.describe import model_label
from cmi_bench.tracking.metadata import write_metadata


@contextlib.contextmanager
def recorded(folder: Path, metadata: Mapping[str, Any]) -> Iterator[None]:
    """Keep `metadata.json` true from the start: "running", and "failed" with the reason if it comes to that."""
    if not is_rank_zero():
        yield
        return
    path = folder / "metadata.json"
    write_metadata(path, {**metadata, "status": "running"})
    try:
        yield
    except BaseException as error:
        write_metadata(path, {**metadata, "status": "failed", "error": f"{type(error).__name__}: {error}"})
        raise


def model_facts(config: Config, model: RewardModel, devices: Devices) -> dict[str, Any]:
    """Return what `metadata.json` says of the model and where it ran."""
    return {
        "model": {
            "name": model_label(config.model),
            "class": f"{type(model).__module__}.{type(model).__qualname__}",
            "digest": getattr(model, "digest", None),
            "sr": int(model.sr),
        },
        "device": f"{devices.accelerator} {devices.selected}",
        "precision": config.precision.value,
    }


def facts_afterwards(metadata: Mapping[str, Any], model: RewardModel) -> dict[str, Any]:
    """Return what can be said when the scores are there: peak memory, and what the model says of how it computed."""
    return {"model": {**metadata["model"], **getattr(model, "facts", {})}, "memory": peak_memory()}
