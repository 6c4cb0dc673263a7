"""The models of a run that has several: the configured one, and those that `embed.also` names."""

import dataclasses
import shlex

from hydra.core.hydra_config import HydraConfig

from cmi_bench.config import Config
from cmi_bench.errors import UserError
from cmi_bench.hydra_compose import compose_config
from cmi_bench.training_config import EmbedTask


def configs_of_models(config: EmbedTask) -> dict[str, Config]:
    """Return the run's configuration as it is for each model, by what to call the model.

    Each is what the command would compose with `model=` that one, so that its embeddings are those of its own runs.

    Raises:
        UserError: There is no such model or key, or a model is named twice.
    """
    found: dict[str, Config] = {str(config.model["name"]): config}
    typed = _typed()
    for entry in config.embed.also:
        name, *words = _words(entry)
        if entry in found:
            raise UserError(f"embed.also names {entry} again.", "Each model is embedded with once: leave it out.")
        composed = compose_config(name, overrides=[*typed, *words])
        found[entry] = dataclasses.replace(config, model=composed.model, precision=composed.precision)
    return found


def _words(entry: str) -> list[str]:
    try:
        words = shlex.split(entry)
    except ValueError as error:  # a quotation mark that does not close
        raise UserError(f"embed.also: {entry!r} cannot be read ({error}).", _FORM) from None
    if not words or "=" in words[0]:
        raise UserError(f"embed.also: {entry!r} begins with no model's name.", _FORM)
    odd = [word for word in words[1:] if not word.lstrip("+").startswith(("model.", "precision="))]
    if odd:
        raise UserError(f"embed.also: {odd[0]!r} is no key of a model.", _FORM)
    return words


_FORM = "The form is 'NAME model.KEY=VALUE', such as 'clap model.checkpoint=FOLDER'; precision=32 may be among them."


def _typed() -> list[str]:
    """Return the words of the command, but for those that choose its model and others."""
    if not HydraConfig.initialized():
        return []
    of_model = ("model=", "model.", "embed.also")
    return [word for word in HydraConfig.get().overrides.task if not word.lstrip("+~").startswith(of_model)]
