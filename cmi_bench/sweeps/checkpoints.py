"""What the recipes in `conf/sweep/` go over, by training step: checkpoints of a folder, revisions of a repository."""

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, HTTPError  # type: ignore[attr-defined]
from hydra.core.override_parser.types import Quote, QuotedString
from omegaconf import OmegaConf

from cmi_bench.errors import UserError
from cmi_bench.models.checkpoint_names import WEIGHTS_SUFFIXES, checkpoint_name, step_order
from cmi_bench.tracking.sweep_plan import job_folder


def find_checkpoints(folder: Path, pattern: str) -> list[Path]:
    """Return the checkpoints of a folder by step, those whose name tells none last.

    A checkpoint is a file of weights in the folder, or a folder in it that holds one. Hidden ones are being written.

    Args:
        folder: Where they are.
        pattern: As the shell writes it: only names that match are taken, such as "step_*".

    Raises:
        UserError: There is no such folder, or none in it.
    """
    if not folder.is_dir():
        raise UserError(f"sweep.checkpoint_dir={folder} is no folder.", "Name the folder that holds the checkpoints.")
    shown = [path for path in folder.iterdir() if not path.name.startswith(".") and fnmatchcase(path.name, pattern)]
    found = [path for path in shown if _is_checkpoint(path)]
    if not found:
        matching = "" if pattern == "*" else f" whose name matches sweep.pattern={pattern}"
        raise UserError(
            f"There is no checkpoint{matching} in {folder}.",
            f"A checkpoint is a {', '.join(WEIGHTS_SUFFIXES)} file in it, or a folder with one.",
        )
    return sorted(found, key=lambda path: step_order(checkpoint_name(str(path))))


def _is_checkpoint(path: Path) -> bool:
    if path.is_dir():
        return any(file.suffix in WEIGHTS_SUFFIXES for file in path.iterdir())
    return path.suffix in WEIGHTS_SUFFIXES


def hub_revisions(repo: str) -> list[str]:
    """Return a repository's branches and tags by the step in their names, those without one last.

    Raises:
        UserError: The hub cannot be reached, or does not show the repository to this login.
    """
    try:
        refs = HfApi().list_repo_refs(repo)
    except (HFValidationError, HfHubHTTPError, HTTPError, OSError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise UserError(
            f"The revisions of {repo} cannot be listed: {reason}",
            "Check sweep.repo, or name them: sweep.revisions=[step_500,step_1000]. For a private one: hf auth login",
        ) from error
    names = {ref.name for ref in (*refs.branches, *refs.tags)}
    return sorted(names, key=step_order)


def register_sweep_resolvers() -> None:
    """Tell OmegaConf `${checkpoints_in:}`, `${revisions_of:}` and `${job_folder:}`; call before the first job."""
    OmegaConf.register_new_resolver("checkpoints_in", _checkpoints_in, replace=True)
    OmegaConf.register_new_resolver("revisions_of", _revisions_of, replace=True)
    OmegaConf.register_new_resolver("job_folder", job_folder, replace=True)


def sweep_values(values: Iterable[str]) -> str:
    """Return values as Hydra's sweeps are written, quoted: a path may hold commas, blanks and equals signs.

    >>> print(sweep_values(["runs/step=5", "it's"]))
    'runs/step=5','it\\'s'
    """
    return ",".join(QuotedString(text=value, quote=Quote.single).with_quotes() for value in values)


def _checkpoints_in(folder: str | None, pattern: str) -> str:
    if folder is None:
        raise UserError(
            "+sweep=checkpoints needs the folder of the checkpoints.",
            "Give it as sweep.checkpoint_dir=runs/ckpts",
        )
    return sweep_values(map(str, find_checkpoints(Path(folder).expanduser(), pattern)))


def _revisions_of(repo: str | None, chosen: Sequence[str]) -> str:
    if repo is None:
        raise UserError("+sweep=revisions needs a repository on the hub.", "Give it as sweep.repo=HaiwenXia/CMI-RM")
    if chosen:
        return sweep_values(f"{repo}@{revision}" for revision in chosen)
    return sweep_values(f"{repo}@{revision}" for revision in hub_revisions(repo))
