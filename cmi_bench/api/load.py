"""`load_model`: a reward model by its name."""

from pathlib import Path
from typing import Any

from cmi_bench.api.configuration import compose_config
from cmi_bench.api.device import torch_device
from cmi_bench.api.scorer import SongScorer
from cmi_bench.config import Config
from cmi_bench.errors import UserError
from cmi_bench.models.configured import configured_model
from cmi_bench.models.contract import RewardModel


def load_model(
    name: str = "cmi_rm",
    *,
    checkpoint: str | Path | None = None,
    device: str = "auto",
    precision: str = "32",
    max_dur: float = Config.max_dur,
    **options: Any,
) -> SongScorer:
    """Load a reward model to score songs with.

    Args:
        name: As in `run.py model=NAME`: "cmi_rm", "signal", "custom", ...
        checkpoint: A file, a folder or a hub id; None for the published one.
        device: "cpu", "cuda", "cuda:1", or "auto": a GPU if there is one.
        precision: "32" or "bf16".
        max_dur: Seconds of each song that are heard, from its start.
        options: Other keys of the model's file in `conf/model/`, such as `class_path` for "custom".

    Raises:
        UserError: A name, option or device is not right, or the checkpoint cannot be had.

    >>> from cmi_bench import load_model
    >>> model = load_model("signal", device="cpu")
    >>> model.max_dur
    120.0
    """
    given = {} if checkpoint is None else {"checkpoint": str(checkpoint)}
    config = compose_config(
        name, options | given, values={"precision": precision, "max_dur": max_dur}, overrides=["cache=off"]
    )
    return SongScorer(
        build_listener(config, device), max_dur=config.max_dur, score_kwargs=config.model.get("score_kwargs")
    )


def build_listener(config: Config, device: str) -> RewardModel:
    """Build the model that a configuration names, for audio without labels.

    Args:
        config: Says which, its precision, and whether it is compiled.
        device: As for `load_model`.

    Raises:
        UserError: As `load_model`; or the model answers from labels.
    """
    model = configured_model(config, torch_device(device))
    if hasattr(model, "bind_rows"):
        raise UserError(
            f"The model {config.model['name']} answers from the labels of the benchmark's rows.",
            "Choose one that listens, such as cmi_rm or signal.",
        )
    return model
