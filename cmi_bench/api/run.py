"""`run`: the benchmark from a program, of a model by its name or of an object in memory, such as one in training.

It is the run that `run.py` makes, with the same words, stores, files and tracking, in this process and on one device.
"""

import itertools
import re
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cmi_bench.api.results import RunResults
from cmi_bench.api.words import words_of
from cmi_bench.config import Config
from cmi_bench.errors import UserError
from cmi_bench.hydra_compose import compose_config
from cmi_bench.hydra_errors import explain
from cmi_bench.models.base import BenchmarkModelABC
from cmi_bench.models.checkpoint_names import checkpoint_label
from cmi_bench.tasks.benchmark import load_run_rows
from cmi_bench.tasks.preflight import preflight
from cmi_bench.tracking.description import dataset_name, model_label, run_name
from cmi_bench.utils.console import silence
from cmi_bench.utils.distributed import process_rank
from cmi_bench.utils.files import content_key
from cmi_bench.utils.installation import command_line, project_folder

if TYPE_CHECKING:
    from cmi_bench.api.scorer import SongScorer
    from cmi_bench.models.base import RewardModel
    from cmi_bench.tasks.scoring import RunHost

ROWS_IN_MEMORY = 4096
"""So many rows of a run's results are handed over as a list; more are read from its file as they are asked for."""
OUTPUTS = "outputs"
NO_SUCH_WORDS = {
    "model": "The model is the first argument.",
    "task": "It does what task=benchmark does.",
    "trainer": "It scores without Lightning's Trainer, in this process.",
    "hydra": "The run's folder is given as folder=.",
    "model_timeout": "Where a model does not come back, it would end this process.",
    **dict.fromkeys(("sweep", "launch"), "Call it several times."),
    **dict.fromkeys(("intersect", "alpha"), "It is a setting of task=compare."),
}
"""Keys that `run.py` takes and `run` does not, and why."""
OF_NAMED_MODELS = ("device", "precision", "compile", "kernels")
"""Keys that say how a model is built."""


def run(
    model: "str | RewardModel | SongScorer",
    *,
    checkpoint: str | PathLike[str] | None = None,
    data: str | Mapping[str, Any] | None = None,
    subset: str | None = None,
    limit: int | None = None,
    step: int | None = None,
    name: str | None = None,
    identity: str | None = None,
    score_kwargs: Mapping[str, Any] | None = None,
    folder: str | PathLike[str] | None = None,
    progress: bool = True,
    **settings: Any,
) -> RunResults:
    """Run the benchmark.

    The caller's process is left as it was: the modes of networks, random numbers, autocast, Hydra. Scores that were
    made of the same clips by the same model are used again; a model object is known by its weights, attributes and
    code. Ctrl-C leaves what was scored.

    Args:
        model: A name, as in `run.py model=NAME`; or an object with `sr` and `score_batch`, scored where it is.
        checkpoint: Of a name: a file, a folder or a hub id; None for the published one.
        data: The rows, as in `data=`; None for the benchmark's.
        subset: One of the datasets, as in `subset=`; None for all.
        limit: At most this many rows of each dataset.
        step: Of an object: its training step, for its name and for charts by step.
        name: Of an object: what it is called; None for its class's name.
        identity: Of an object whose state cannot be read: what tells it from its other states. Scores are used again
            under the same one.
        score_kwargs: Passed on to `score_batch`.
        folder: The run's folder; None for a new one in `outputs/`.
        progress: Whether to show a bar on stderr.
        settings: Anything else that `run.py` takes: `tracking="none"`, `max_dur=30`, `metrics={"resamples": 0}`,
            `**{"cache.max_gb": 10}`.

    Returns:
        The metrics, as from `evaluate`, with the run's `folder`, `rows` and `metadata`.

    Raises:
        UserError: A setting, the rows, the model or the device are not right; or a clip cannot be scored. What was
            scored is kept.

    >>> import cmi_bench
    >>> results = cmi_bench.run("signal", data="mini", subset="pam", limit=8, progress=False, tracking="none")
    >>> results.to_dataframe()[["dataset", "task", "metric", "n"]].values.tolist()[0]
    ['PAM', 'musicality', 'SRCC', 8]
    >>> results.rows[0]["predicted_musicality"] > 0
    True
    """
    started = time.monotonic()
    chosen = {"data": data, "subset": subset, "limit": limit}
    words = {key: value for key, value in chosen.items() if value is not None} | settings
    try:
        _check(
            model,
            words,
            of_names={"checkpoint": checkpoint},
            of_objects={"step": step, "name": name, "identity": identity},
        )
        if isinstance(model, str):
            options = {"checkpoint": checkpoint and fspath(checkpoint), "score_kwargs": _plain(score_kwargs)}
            given = {key: value for key, value in options.items() if value}
            config = compose_config(model, given, overrides=words_of(words))
        else:
            config = compose_config(overrides=words_of(words))
            config.model = _described(model, name, step, identity, _plain(score_kwargs))
        with silence(not progress):
            return _run(model, config, identity=identity, folder=folder, started=started)
    except OSError as error:
        message = explain(error)
        if message is None:
            raise
        raise UserError(message) from error


def _check(
    model: object, words: Mapping[str, Any], *, of_names: Mapping[str, Any], of_objects: Mapping[str, Any]
) -> None:
    """Check what needs no configuration.

    Args:
        model: A name or an object.
        words: Settings of the configuration.
        of_names: Arguments that only a name has use for.
        of_objects: Arguments that only an object has use for.

    Raises:
        UserError: An argument that has no effect here, or another process than the first.
    """
    if rank := process_rank():
        raise UserError(
            f"cmi_bench.run was called in process {rank} of several.",
            "Call it in the first one only: if trainer.is_global_zero: cmi_bench.run(...)",
        )
    if isinstance(model, type):
        raise UserError(f"{model.__name__} is a class.", f"Give an object of it: {model.__name__}(...).")
    is_named = isinstance(model, str)
    for key in words:
        first = key.lstrip("+~").partition(".")[0]
        if first in NO_SUCH_WORDS and not (is_named and key.startswith("model.")):
            raise UserError(f"cmi_bench.run takes no {key}.", NO_SUCH_WORDS[first])
        if first in OF_NAMED_MODELS and not is_named:
            raise UserError(f"{key} says nothing of a model that is built already.", "Leave it out.")
    for key, value in (of_objects if is_named else of_names).items():
        if value is not None:
            what = f"{key} is for a model object; {model} is a name." if is_named else f"{key} is for a model's name."
            raise UserError(what, "Leave it out.")


def _plain(score_kwargs: Mapping[str, Any] | None) -> dict[str, Any]:
    try:
        content_key(score_kwargs=dict(score_kwargs or {}))
    except (TypeError, ValueError) as error:
        raise UserError(f"score_kwargs holds what JSON cannot: {error}.", "Give plain values.") from error
    return dict(score_kwargs or {})


def _described(
    model: Any, name: str | None, step: int | None, identity: str | None, score_kwargs: dict[str, Any]
) -> dict[str, Any]:
    """Return what stands for a model object in the configuration, as `model` does for one with a name."""
    kind = type(_unwrapped(model))
    return {
        "name": name or kind.__name__,
        "in_memory": f"{kind.__module__}:{kind.__qualname__}",
        # The name by which it is told from its other steps, as checkpoints are.
        "checkpoint": None if step is None else f"step_{int(step)}",
        "identity": identity,
        "score_kwargs": score_kwargs,
    }


def _unwrapped(model: Any) -> Any:
    """Return the model of a `SongScorer`, and what an adapter wraps."""
    within = getattr(model, "model", None)
    if isinstance(within, BenchmarkModelABC) and not hasattr(model, "sr"):
        model = within
    return model.implementation if isinstance(model, BenchmarkModelABC) else model


def _run(
    model: Any,
    config: Config,
    *,
    identity: str | None,
    folder: str | PathLike[str] | None,
    started: float,
) -> RunResults:
    preflight(config, builds_model=isinstance(model, str))
    rows = load_run_rows(config)
    # Torch takes seconds to load: mistakes are told before.
    from cmi_bench.api.guest import as_guest
    from cmi_bench.tasks.scoring import score_rows

    with as_guest(None if isinstance(model, str) else model):
        if isinstance(model, str):
            host = _named_host(config)
        else:
            host, config = _object_host(model, config, identity)
        place = _new_folder(config) if folder is None else Path(folder)
        outcome = score_rows(rows, config, place, host, started=started)
    assert outcome is not None  # this is the first process
    checkpoint = config.model.get("checkpoint")
    return RunResults.of(
        outcome.evaluation,
        label=run_name(
            model_label(config.model), checkpoint_label(checkpoint) if checkpoint else "", dataset_name(config)
        ),
        folder=place,
        rows=outcome.rows if len(outcome.rows) > ROWS_IN_MEMORY else list(outcome.rows),
        metadata=dict(outcome.metadata),
    )


def _named_host(config: Config) -> "RunHost":
    """Return what scores with a model that is built for the run.

    Raises:
        UserError: The device is not there, or there are several.
    """
    from cmi_bench.models.registry import configured_model
    from cmi_bench.tasks.scoring import program_host
    from cmi_bench.utils.distributed import resolve_devices

    devices = resolve_devices(config.trainer["accelerator"], config.trainer["devices"])
    if devices.count > 1:
        raise UserError(
            f"cmi_bench.run scores on one device, and device={config.device} is {devices.count}.",
            f"Give one, such as cuda:0; {command_line()} scores on several.",
        )
    return program_host(lambda: configured_model(config, devices.this_process), devices, config)


def _object_host(model: Any, config: Config, identity: str | None) -> "tuple[RunHost, Config]":
    """Return what scores with the caller's model, and the configuration for what is known of it."""
    from cmi_bench.models.in_memory import in_memory, networks_of
    from cmi_bench.tasks.scoring import program_host
    from cmi_bench.utils.distributed import devices_of

    plain = _unwrapped(model)
    adapted = in_memory(plain, identity)
    if not adapted.identity:  # nothing that is stored could be told to be of another state
        config = replace(config, resume=False, cache=replace(config.cache, dir=None))
    first = next((one for network in networks_of(plain) for one in network.parameters()), None)
    devices = devices_of("cpu" if first is None else str(first.device))
    return program_host(lambda: adapted, devices, config), config


def _new_folder(config: Config) -> Path:
    """Make the run's folder, which no other run has."""
    model = re.sub(r"[^\w.-]+", "_", str(config.model["name"]))
    step = f"_{config.model['checkpoint']}" if config.model.get("in_memory") and config.model["checkpoint"] else ""
    now = f"{datetime.now():%Y-%m-%d_%H-%M-%S}{step}"
    for number in itertools.count(1):
        folder = project_folder() / OUTPUTS / model / (now if number == 1 else f"{now}_{number}")
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        return folder
    raise AssertionError
