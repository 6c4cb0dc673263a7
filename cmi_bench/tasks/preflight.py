"""What is said before a task's libraries are imported, which takes seconds: what is wrong, or what begins."""

import logging
from pathlib import Path

from cmi_bench.config import Config, Precision, no_tensor_float32
from cmi_bench.data.chosen import check_subset, table_settings
from cmi_bench.errors import NotFetchedError, UserError
from cmi_bench.models.registry import SHIPPED, check_target, target_of
from cmi_bench.task_config import EvaluateTask
from cmi_bench.tracking.trackers import check_tracker
from cmi_bench.training_config import EmbedTask
from cmi_bench.utils.addresses import place_of, try_to_write
from cmi_bench.utils.console import some_of
from cmi_bench.utils.distributed import check_driver, is_rank_zero
from cmi_bench.utils.files import reason_of, without_credentials
from cmi_bench.utils.installation import command_line

log = logging.getLogger(__name__)

EMBED = "embed"
TRAIN = "train"
SCORING_TASKS = frozenset({"benchmark", "conformance", "sanity", EMBED, TRAIN})
"""Tasks that build a model."""
FIRST_LINES = {
    "compare": "Comparing runs",
    "leaderboard": "Making the leaderboard",
    "prepare": "Looking for what is missing",
    "doctor": "Looking at data, model and environment",
}


def preflight(config: Config, *, builds_model: bool = True) -> None:
    """Check the names of datasets, and what a task that builds a model needs; log what begins.

    A cache that cannot be written is switched off in `config`, with a warning: it saves time, and changes no score.

    Args:
        config: The run's configuration.
        builds_model: Whether the model is what the configuration says; a program may have one in memory.

    Raises:
        UserError: The rows, the model's class or checkpoint, or the device cannot be there.
    """
    check_subset(config.subset, config.data)
    if config.task in SCORING_TASKS:
        _check_scoring(config, builds_model)
    if is_rank_zero() and (line := first_line(config)):
        log.info("%s", line)


def first_line(config: Config) -> str:
    """Return what is said of a task before it begins; nothing of those that are over at once."""
    if config.task in SCORING_TASKS:
        also = config.embed.also if isinstance(config, EmbedTask) else []
        return f"Loading {some_of([config.model['name'], *also])}"
    if isinstance(config, EvaluateTask):
        return f"Evaluating {config.results}" if config.results else ""
    return FIRST_LINES.get(config.task, "")


def _check_scoring(config: Config, builds_model: bool) -> None:
    if config.task == "benchmark":
        _check_data(config)
    if config.task in ("benchmark", TRAIN):
        check_tracker(config.tracking)
    if config.task == EMBED and config.cache.dir is None:
        raise UserError("cache=off keeps nothing, and task=embed fills the cache.", "Leave out cache=off.")
    if builds_model:
        for one in _configs_of_models(config):
            check_model(one)
    check_cache(config)


def _configs_of_models(config: Config) -> list[Config]:
    if not isinstance(config, EmbedTask) or not config.embed.also:
        return [config]
    from cmi_bench.tasks.run_models import configs_of_models  # what composes is not needed otherwise

    return list(configs_of_models(config).values())


def check_model(config: Config) -> None:
    """Check the model's class and checkpoint, and the device's driver; nothing of the model is imported.

    Raises:
        UserError: One of them cannot be there.
    """
    check_target(config.model)
    check_driver(config.trainer["accelerator"], config.trainer["devices"])
    if config.precision is Precision["tf32"] and config.trainer["accelerator"] == "cpu":
        raise no_tensor_float32("precision")
    if target_of(config.model).startswith(SHIPPED) and config.model.get("checkpoint"):
        # Imported here: baselines have no checkpoint, and the hub's client takes a while.
        from cmi_bench.models.checkpoint_kinds import check_fits
        from cmi_bench.models.hub import check_findable

        check_fits(config.model)
        try:
            check_findable(str(config.model["checkpoint"]))
        except NotFetchedError as error:
            prepare = command_line("task=prepare", f"model={config.model['name']}")
            hint = f"Where there is a network, {prepare} (with the other words of this command) gets all it needs."
            raise UserError(error.what, hint) from error


def _check_data(config: Config) -> None:
    data = config.data
    for table in table_settings(data).values():
        if table.csv and not Path(table.csv).expanduser().exists():
            raise UserError(f"{table.csv} does not exist.", "Check the path; it is relative to the folder you are in.")
    if data.jsonl and not data.synthesise and not Path(data.jsonl).exists():
        own = "name your own: data=custom data.csv=FILE"
        raise UserError(f"{data.jsonl} does not exist.", f"Get the data with {command_line('task=prepare')}, or {own}.")


def check_cache(config: Config) -> None:
    """Find out whether the cache can be written; a run that only uses it goes on without a folder that cannot.

    Raises:
        UserError: An address, or what `task=embed` fills, cannot be written, or a package for the address is missing.
    """
    if config.cache.dir is None:
        return
    place = place_of(config.cache.dir)
    try:
        try_to_write(place)
    except OSError as error:
        reason, shown = reason_of(error), without_credentials(str(place))
        if isinstance(place, str):
            raise UserError(
                f"The cache {shown} cannot be written ({reason}).",
                "Check the address and the credentials, or set cache.dir to a folder.",
            ) from error
        if config.task == EMBED:
            raise UserError(
                f"The cache {shown} cannot be written ({reason}).", "Set cache.dir to a folder that can be."
            ) from error
        if is_rank_zero():
            log.warning("The cache %s cannot be written (%s): this run goes on without it.", shown, reason)
        config.cache.dir = None
