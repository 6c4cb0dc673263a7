"""Where a training goes on that was stopped: the same command finds it again by what it is, not by its folder's name.

A training is known by a key, the digest of all that decides over its weights. Its folder has the key; the cache has
the folder of each key. Started again, in the same folder or in a new one, a training takes up what it has written.
"""

import json
import logging
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple, get_args

from cmi_bench.errors import UserError
from cmi_bench.models.base import EmbeddingModel, InputKind
from cmi_bench.models.heads import Head
from cmi_bench.models.weights import tensors_digest
from cmi_bench.scoring.code_identity import code_identity
from cmi_bench.tracking.metadata import resolved_config
from cmi_bench.tracking.scored_data import ScoredDataset
from cmi_bench.tracking.training_record import RECORD_FILE
from cmi_bench.training.history import HISTORY
from cmi_bench.training.kept import CHECKPOINTS, CHECKPOINTS_FILE
from cmi_bench.training.state import STATE_FOLDER
from cmi_bench.training_config import TrainTask
from cmi_bench.utils.distributed import Devices, is_running, this_process
from cmi_bench.utils.files import content_key, files_digest, json_text, write_text_atomic

log = logging.getLogger(__name__)

CLAIM = "training.json"
"""In the folder of a training's state: its key, and who writes there."""


class Claim(NamedTuple):
    """What a training's folder says of it."""

    key: str
    process: str
    """As `utils.distributed.this_process` names it."""


SETTINGS = ("head", "loss", "optimizer", "sampling", "train", "metrics", "seed", "max_dur")
"""Parts of the configuration that decide over weights, or over which of them are kept."""
NOT_WEIGHTS = ("memory_gb", "save_seconds", "on_contamination", "contamination")
"""Keys of `train` that do not; the rows that contamination leaves are told apart themselves."""


def training_key(
    config: TrainTask,
    model: EmbeddingModel,
    head: Head,
    datasets: Mapping[str, Sequence[ScoredDataset]],
    devices: Devices,
) -> str:
    """Return the digest of all that decides over a training's weights: settings, rows, frozen model, head and code.

    Args:
        config: The training's configuration.
        model: The frozen model.
        head: As it is before training; it may begin from a checkpoint.
        datasets: What identifies the rows, by what they are used for.
        devices: Where it runs: other devices, and other numbers of them, round differently.
    """
    settings = resolved_config(config)
    settings["train"] = {name: value for name, value in settings["train"].items() if name not in NOT_WEIGHTS}
    kinds: tuple[InputKind, ...] = get_args(InputKind)
    return content_key(
        settings={name: settings[name] for name in SETTINGS},
        rows={name: [asdict(one) for one in of_use] for name, of_use in datasets.items()},
        model=[model.audio_identity, model.text_identity, *map(model.pooling, kinds)],
        head=tensors_digest({name: one.cpu() for name, one in head.state_dict().items()}),
        code=[code_identity(model), files_digest(sorted(Path(__file__).parent.glob("*.py")))],
        devices=[devices.accelerator, devices.count],
    )


def take_up(folder: Path, key: str, *, index: Path | None, resume: bool) -> None:
    """Make a folder a training's own, with what the training has written before, there or elsewhere.

    Args:
        folder: Where the training writes.
        key: What it is.
        index: Folder of the cache that knows trainings by their keys; None for none.
        resume: Whether what was written before is to be used; otherwise it is removed.

    Raises:
        UserError: Another training is in the folder, or another process is at this one.
    """
    here = read_claim(folder)
    if here is None and (folder / CHECKPOINTS).exists():
        raise _taken(folder, "has checkpoints of which nobody knows the training")
    if here is not None and here.key != key:
        raise _taken(folder, "is another training's, with other settings, rows or code")
    if here is not None:
        _check_stopped(here, folder)
        if not resume:
            _clear(folder)
    elif resume and index is not None and (earlier := _earlier(index, key)) is not None:
        _take_over(earlier, folder)
    write_text_atomic(folder / STATE_FOLDER / CLAIM, json_text(Claim(key, this_process())._asdict()))
    if index is not None:
        write_text_atomic(index / f"{key}.json", json_text({"folder": str(folder.absolute())}))


def read_claim(folder: Path) -> Claim | None:
    """Return which training a folder is of; None where it is of none."""
    try:
        found = json.loads((folder / STATE_FOLDER / CLAIM).read_text(encoding="utf-8"))
        return Claim(str(found["key"]), str(found["process"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _earlier(index: Path, key: str) -> Path | None:
    """Return the folder in which a training was before, if it is still there."""
    try:
        folder = Path(json.loads((index / f"{key}.json").read_text(encoding="utf-8"))["folder"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    claim = read_claim(folder)
    if claim is None or claim.key != key:
        return None
    _check_stopped(claim, folder)
    return folder


def _check_stopped(claim: Claim, folder: Path) -> None:
    if claim.process != this_process() and is_running(claim.process):
        raise UserError(
            f"This training runs already, in {folder} (process {claim.process.partition(' ')[0]}).",
            "Wait for it, or train once more beside it: resume=false.",
        )


def _taken(folder: Path, why: str) -> UserError:
    return UserError(f"{folder} {why}.", "Choose another folder (hydra.run.dir=FOLDER), or remove this one.")


def _take_over(earlier: Path, folder: Path) -> None:
    log.info("This training was begun in %s: what it has written is taken from there.", earlier)
    folder.mkdir(parents=True, exist_ok=True)
    for name in (RECORD_FILE, HISTORY, CHECKPOINTS_FILE):
        if (earlier / name).is_file():
            shutil.copy2(earlier / name, folder / name)
    _link((earlier / CHECKPOINTS).rglob("*"), earlier, folder)
    # A state is large, and of use where the training goes on only.
    states = [file for file in (earlier / STATE_FOLDER).glob("*") if file.name != CLAIM]
    _link(states, earlier, folder)
    for file in states:
        file.unlink()


def _link(files: Iterable[Path], source: Path, target: Path) -> None:
    """Put files where they have the same place below another folder; on one disk they take no further room."""
    for file in files:
        if not file.is_file():
            continue
        other = target / file.relative_to(source)
        other.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(file, other)
        except OSError:  # another disk, or one that knows no links
            shutil.copy2(file, other)


def _clear(folder: Path) -> None:
    for name in (STATE_FOLDER, CHECKPOINTS):
        shutil.rmtree(folder / name, ignore_errors=True)
    for name in (HISTORY, CHECKPOINTS_FILE, RECORD_FILE):
        (folder / name).unlink(missing_ok=True)
