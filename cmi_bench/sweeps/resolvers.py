"""What the recipes in `conf/sweep/` go over, as values of a Hydra sweep."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from hydra.core.override_parser.types import Quote, QuotedString
from omegaconf import OmegaConf

from cmi_bench.errors import UserError
from cmi_bench.sweeps.checkpoints import find_checkpoints


def register_sweep_resolvers() -> None:
    """Tell OmegaConf `${checkpoints_in:}` and `${revisions_of:}`; call before composing."""
    OmegaConf.register_new_resolver("checkpoints_in", _checkpoints_in, replace=True)
    OmegaConf.register_new_resolver("revisions_of", _revisions_of, replace=True)


def sweep_values(values: Iterable[str]) -> str:
    """Return values as Hydra's sweeps are written, quoted: a path may hold commas, blanks and equals signs.

    >>> print(sweep_values(["runs/step=5", "it's"]))
    'runs/step=5','it\\'s'
    """
    return ",".join(QuotedString(text=value, quote=Quote.single).with_quotes() for value in values)


def _checkpoints_in(folder: str | None, pattern: str) -> str:
    if folder is None:
        raise UserError(
            "+sweep=checkpoints needs the folder of the checkpoints.", "Give it as sweep.dir=runs/checkpoints"
        )
    return sweep_values(map(str, find_checkpoints(Path(folder).expanduser(), pattern)))


def _revisions_of(repo: str | None, chosen: Sequence[str]) -> str:
    if repo is None:
        raise UserError("+sweep=revisions needs a repository on the hub.", "Give it as sweep.repo=HaiwenXia/CMI-RM")
    if chosen:
        return sweep_values(f"{repo}@{revision}" for revision in chosen)
    # The hub's client is not for those who sweep over something else.
    from cmi_bench.sweeps.revisions import hub_revisions

    return sweep_values(f"{repo}@{revision}" for revision in hub_revisions(repo))
