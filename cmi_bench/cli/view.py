"""`cmi-bench view`: all rows of one or more runs as a page to look at and listen to, offline."""

import webbrowser
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import typer

from cmi_bench.config import Config
from cmi_bench.errors import UserError
from cmi_bench.hydra_compose import compose_config
from cmi_bench.reporting.viewer.audio import AudioMode, PageAudio
from cmi_bench.reporting.viewer.page import PAGE_FILE, Bound, WrittenPage, check_replaceable, write_view
from cmi_bench.tasks.named_runs import load_runs
from cmi_bench.tracking.metadata import look_up, own_roots
from cmi_bench.utils.console import print_error, spinner
from cmi_bench.utils.workspace import workspace

TELLING = ("metrics", "data", "tracking", "tracking_uri", "data_root")
"""Keys of the configuration that say something here: how rows are read, where audio is, where MLflow is."""


def view(
    named: Sequence[str], out: Path | None, *, audio: AudioMode, bound: Bound, settings: Sequence[str], show: bool
) -> None:
    """Write the page and say where it is.

    Args:
        named: As in `tasks.named_runs.find_runs`.
        out: Where to; None for beside the run, or here where there are several.
        audio: Where the page's audio is.
        bound: How many rows it has at most.
        settings: In Hydra's words, as on `run.py`'s command line.
        show: Open it in a browser.

    Raises:
        UserError: A run, a setting or the page's place is not right; see `write_view`.
    """
    for word in settings:
        if word.lstrip("+~").partition("=")[0].partition(".")[0] not in TELLING:
            raise UserError(f"--set {word} has no effect on a page of rows.", f"It takes {', '.join(TELLING)}.")
    file = (out or _beside(named)).expanduser()
    check_replaceable(file)
    config = compose_config(overrides=settings)
    with spinner("reading the rows"), workspace() as fetched:
        loaded = load_runs(named, config.tracking, fetched)
        metadata = loaded.metadata
        found = PageAudio(
            audio,
            _roots(metadata, config, settings),
            file.parent,
            _allows_outside(metadata, config),
            _own_roots(metadata),
        )
        page = write_view(loaded.runs, config.metrics, file, audio=found, bound=bound, notes=loaded.notes)
    _tell(page, len(loaded.runs))
    if show and not webbrowser.open(file.absolute().as_uri()):
        print_error("No browser could be started: open the page by its address.")


def _beside(named: Sequence[str]) -> Path:
    """Return the page's place: a single run's or sweep's folder, else the current one."""
    path = Path(named[0]).expanduser()
    if len(named) > 1 or not path.exists():
        return Path(PAGE_FILE)
    return (path if path.is_dir() else path.parent) / PAGE_FILE


def _roots(metadata: Sequence[Mapping[str, Any]], config: Config, settings: Sequence[str]) -> list[Path]:
    """Return where the audio may be, the likeliest first: where --set says, where the runs had it, the usual place."""
    recorded = [look_up(one, "config", "data", "root") for one in metadata]
    is_set = any(word.startswith("data") for word in settings)
    ordered = [config.data.root, *recorded] if is_set else [*recorded, config.data.root]
    return [Path(root) for root in dict.fromkeys(ordered) if isinstance(root, str)]


def _own_roots(metadata: Sequence[Mapping[str, Any]]) -> dict[str, Path]:
    return {name: root for one in metadata for name, root in own_roots(one).items()}


def _allows_outside(metadata: Sequence[Mapping[str, Any]], config: Config) -> bool:
    recorded = (look_up(one, "config", "data", "allow_outside") for one in metadata)
    return config.data.allow_outside or any(one is True for one in recorded)


def _tell(page: WrittenPage, n_runs: int) -> None:
    megabytes = page.file.stat().st_size / 1e6
    runs = "1 run" if n_runs == 1 else f"{n_runs} runs"
    typer.echo(f"{page.n_rows:,} rows of {runs}, {megabytes:.1f} MB")
    for note in page.notes:
        typer.echo(f"  {note}")
    typer.echo(f"Page: {page.file}")
