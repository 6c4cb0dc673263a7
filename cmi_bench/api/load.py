"""`load_model`: a reward model by its name."""

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cmi_bench.config import Config
from cmi_bench.errors import UserError
from cmi_bench.hydra_compose import compose_config
from cmi_bench.models.base import BenchmarkModelABC
from cmi_bench.models.registry import configured_model
from cmi_bench.utils.distributed import check_driver, resolve_devices

if TYPE_CHECKING:
    from cmi_bench.api.scorer import SongScorer


def torch_device(name: str) -> str:
    """Return the torch device that a name stands for.

    Args:
        name: "auto" (a GPU if there is one), "cpu", "cuda" (the first GPU) or "cuda:1".

    Raises:
        UserError: There is no such device on this machine.
    """
    cuda = check_device(name)
    with _plain_advice():
        return resolve_devices(*(("gpu", [cuda]) if cuda is not None else (name, 1))).this_process


def check_device(name: str) -> int | None:
    """Check a device's name, and that a GPU has a driver, without torch; return the GPU's number, None for the others.

    Raises:
        UserError: There is no such device on this machine.
    """
    cuda = re.fullmatch(r"cuda(?::(\d+))?", name)
    if cuda is None and name not in ("auto", "cpu"):
        raise UserError(f"There is no device {name!r}.", "Use auto, cpu, cuda, or cuda:0, cuda:1, ...")
    if cuda is None:
        return None
    number = int(cuda[1] or 0)
    with _plain_advice():
        check_driver("gpu", [number])
    return number


@contextlib.contextmanager
def _plain_advice() -> Iterator[None]:
    """Leave the benchmark's own words out of what is said of a device."""
    try:
        yield
    except UserError as error:
        raise UserError(error.what, "Use the device cpu, or one that is there.") from error


def load_model(
    name: str | None = None,
    *,
    checkpoint: str | Path | None = None,
    device: str = "auto",
    precision: str = "32",
    max_dur: float = Config.max_dur,
    **options: Any,
) -> "SongScorer":
    """Load a reward model to score songs with.

    Args:
        name: As in `run.py model=NAME`: "cmi_rm", "signal", "custom", ...; None for the one that loads the checkpoint,
            "cmi_rm" where none is given.
        checkpoint: A file, a folder or a hub id; None for the published one.
        device: "cpu", "cuda", "cuda:1", or "auto": a GPU if there is one.
        precision: "32", "tf32" or "bf16".
        max_dur: Seconds of each song that are used, from its start.
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
    # Torch takes two seconds to load: mistakes are told before.
    from cmi_bench.api.scorer import SongScorer

    return SongScorer(
        build_judge(config, device), max_dur=config.max_dur, score_kwargs=config.model.get("score_kwargs")
    )


def build_judge(config: Config, device: str) -> BenchmarkModelABC:
    """Build the model that a configuration names, for audio without labels.

    Args:
        config: Says which, its precision, and whether it is compiled.
        device: As for `load_model`.

    Raises:
        UserError: As `load_model`; or the model answers from labels.
    """
    model = configured_model(config, torch_device(device))
    if model.needs_labels:
        raise UserError(
            f"The model {config.model['name']} answers from the labels of the benchmark's rows.",
            "Choose one that judges audio, such as cmi_rm or signal.",
        )
    return model
