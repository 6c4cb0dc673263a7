"""Checks of what a run stands on: packages, devices, decoders, disk, login and tracking store."""

import os
import platform
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from packaging.requirements import Requirement
from rich.filesize import decimal

from cmi_bench.config import Config
from cmi_bench.doctor.finding import Finding, Remedies, Severity
from cmi_bench.download.fetch import PARTIAL
from cmi_bench.download.state import RESERVE, free_bytes
from cmi_bench.errors import UserError
from cmi_bench.models.registry import target_of
from cmi_bench.utils.console import some_of
from cmi_bench.utils.files import without_credentials
from cmi_bench.utils.installation import install_command

DISK_AREA = "disk"


def check_disk(root: Path, outputs: Path, remedies: Remedies) -> Iterator[Finding]:
    """Look at the data root, and at the folder that runs write to."""
    for name, folder in (("data root", root), ("outputs", outputs)):
        free = free_bytes(folder)
        there = next(one for one in (folder, *folder.absolute().parents) if one.exists())
        if not os.access(there, os.W_OK):
            is_needed = name == "outputs"
            status = Severity.PROBLEM if is_needed else Severity.WARNING
            yield Finding(DISK_AREA, name, status, f"{there} cannot be written to.", "Choose a folder of yours")
        elif free < RESERVE:
            yield Finding(DISK_AREA, name, Severity.PROBLEM, f"{decimal(free)} free at {there}.", "Make room")
        else:
            yield Finding(DISK_AREA, name, Severity.OK, f"{decimal(free)} free at {there}")
    yield from _leftovers(root, remedies)


def _leftovers(root: Path, remedies: Remedies) -> Iterator[Finding]:
    partial = sorted(path.relative_to(root).as_posix() for path in root.rglob(f"*{PARTIAL}"))
    if partial:
        found = f"{len(partial)} downloads were interrupted: {some_of(partial)}."
        yield Finding(DISK_AREA, "downloads", Severity.WARNING, found, remedies.prepare)


ENVIRONMENT_AREA = "environment"
PACKAGE = "cmi-bench"


def check_environment(config: Config) -> Iterator[Finding]:
    """Look at Python, the packages, the devices and the decoders."""
    yield Finding(ENVIRONMENT_AREA, "python", Severity.OK, platform.python_version())
    yield _packages()
    yield from _torch(config)
    yield from _decoders()


def _packages() -> Finding:
    try:
        wanted = [Requirement(text) for text in requires(PACKAGE) or []]
    except PackageNotFoundError:
        return Finding(
            ENVIRONMENT_AREA,
            "packages",
            Severity.WARNING,
            f"{PACKAGE} itself is not installed, only run.",
            install_command(),
        )
    wrong = []
    needed = [one for one in wanted if one.marker is None or one.marker.evaluate({"extra": ""})]
    for one in needed:
        try:
            there = version(one.name)
        except PackageNotFoundError:
            wrong.append(f"{one.name} is not installed")
            continue
        if not one.specifier.contains(there, prereleases=True):
            wrong.append(f"{one.name} is {there}, needed is {one.specifier}")
    if wrong:
        return Finding(ENVIRONMENT_AREA, "packages", Severity.PROBLEM, f"{'; '.join(wrong)}.", install_command())
    return Finding(ENVIRONMENT_AREA, "packages", Severity.OK, f"{len(needed)} packages at the versions needed")


def _torch(config: Config) -> Iterator[Finding]:
    try:
        import torch
        import torchaudio  # noqa: F401 - a build that does not fit torch's fails here
    except (ImportError, OSError) as error:
        yield Finding(
            ENVIRONMENT_AREA,
            "torch",
            Severity.PROBLEM,
            f"torch and torchaudio do not load together: {error}",
            install_command(),
        )
        return
    from cmi_bench.utils.distributed import resolve_devices

    gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    there = f"torch {torch.__version__}; {', '.join(gpus) or 'no GPU'}"
    try:
        devices = resolve_devices(config.trainer["accelerator"], config.trainer["devices"])
    except UserError as error:
        yield Finding(ENVIRONMENT_AREA, "devices", Severity.PROBLEM, error.what, error.hint)
        return
    chosen = f"{there}; a run uses {devices.accelerator} {devices.selected}"
    if not gpus and target_of(config.model).endswith("CmiRM"):
        found = f"{chosen}: the whole benchmark takes hours, on few cores a day."
        yield Finding(
            ENVIRONMENT_AREA, "devices", Severity.WARNING, found, "Use a machine with a GPU, or a part: limit=20"
        )
    else:
        yield Finding(ENVIRONMENT_AREA, "devices", Severity.OK, chosen)


def _decoders() -> Iterator[Finding]:
    import soundfile

    from cmi_bench.audio.readers import decoder_versions

    there = "; ".join(f"{name} {number}" for name, number in decoder_versions().items())
    lacking = {"WAV", "FLAC", "OGG", "MP3"} - set(soundfile.available_formats())
    if lacking:
        fix = "pip install --force-reinstall soundfile (its wheel has a libsndfile that can)"
        yield Finding(
            ENVIRONMENT_AREA, "decoders", Severity.PROBLEM, f"{there} cannot read {', '.join(sorted(lacking))}.", fix
        )
    else:
        yield Finding(ENVIRONMENT_AREA, "decoders", Severity.OK, there)


def check_login(*, is_needed: bool) -> Iterator[Finding]:
    """Look for a login at the Hugging Face hub; whether it is accepted, only the hub knows.

    Args:
        is_needed: Something is still to be fetched.
    """
    from huggingface_hub import get_token

    if get_token() is not None:
        yield Finding("login", "Hugging Face hub", Severity.OK, "there is a token")
    elif is_needed:
        yield Finding(
            "login",
            "Hugging Face hub",
            Severity.WARNING,
            "not logged in, and something is to be fetched.",
            "hf auth login",
        )
    else:
        yield Finding("login", "Hugging Face hub", Severity.OK, "not logged in; nothing is to be fetched")


TRACKING_AREA = "tracking"
SQLITE = "sqlite:///"
PATIENCE = 5.0
"""Seconds that a server has to answer."""
OFF = "or leave recording out with tracking=none"


def check_tracking(config: Config) -> Iterator[Finding]:
    """Look at the MLflow store; a run works without it, so nothing here is worse than a warning."""
    uri = config.tracking.uri
    if uri is None:
        yield Finding(TRACKING_AREA, "MLflow", Severity.OK, "runs are not recorded")
    elif uri.startswith(SQLITE):
        yield _check_sqlite(Path(uri.removeprefix(SQLITE)))
    elif uri.startswith(("http://", "https://")):
        yield _check_server(uri)
    else:
        found = f"{without_credentials(uri)} is no store that MLflow still takes."
        yield Finding(
            TRACKING_AREA, "MLflow", Severity.WARNING, found, f"tracking.uri=sqlite:////folder/mlflow.db, {OFF}"
        )


def _check_sqlite(file: Path) -> Finding:
    if not file.exists():
        return Finding(TRACKING_AREA, "MLflow", Severity.OK, f"{file} is made by the first run")
    try:
        with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True, timeout=PATIENCE)) as store:
            (answer,) = store.execute("PRAGMA quick_check").fetchone()
            runs = store.execute("SELECT count(*) FROM runs").fetchone()[0] if answer == "ok" else 0
    except sqlite3.Error as error:
        answer, runs = str(error), 0
    if answer == "ok":
        return Finding(TRACKING_AREA, "MLflow", Severity.OK, f"{runs} run{'' if runs == 1 else 's'} in {file}")
    return Finding(
        TRACKING_AREA,
        "MLflow",
        Severity.WARNING,
        f"{file} is no MLflow store: {answer}.",
        f"mv {file} elsewhere, {OFF}",
    )


def _check_server(uri: str) -> Finding:
    import httpx2

    try:
        status = httpx2.get(f"{uri.rstrip('/')}/health", timeout=PATIENCE, follow_redirects=True).status_code
        reason = f"answers {status}"
    except httpx2.TransportError as error:
        status, reason = 0, f"cannot be reached: {error}"
    shown = without_credentials(uri)
    if status == httpx2.codes.OK:
        return Finding(TRACKING_AREA, "MLflow", Severity.OK, f"{shown} answers")
    return Finding(
        TRACKING_AREA, "MLflow", Severity.WARNING, f"{shown} {reason}.", f"Start it, fix tracking.uri, {OFF}"
    )
