"""Whether the program, its libraries and the devices are there."""

import platform
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version

from packaging.requirements import Requirement

from cmi_bench.config import Config
from cmi_bench.doctor.finding import Finding, Status
from cmi_bench.errors import UserError

AREA = "environment"
PACKAGE = "cmi-bench"
INSTALL = "make env (or pip install -c constraints.txt -e .)"


def check_environment(config: Config) -> Iterator[Finding]:
    """Look at Python, the packages, the devices and the decoders."""
    yield Finding(AREA, "python", Status.OK, platform.python_version())
    yield _packages()
    yield from _torch(config)
    yield from _decoders()


def _packages() -> Finding:
    try:
        wanted = [Requirement(text) for text in requires(PACKAGE) or []]
    except PackageNotFoundError:
        return Finding(AREA, "packages", Status.WARNING, f"{PACKAGE} itself is not installed, only run.", INSTALL)
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
        return Finding(AREA, "packages", Status.PROBLEM, f"{'; '.join(wrong)}.", INSTALL)
    return Finding(AREA, "packages", Status.OK, f"{len(needed)} packages at the versions needed")


def _torch(config: Config) -> Iterator[Finding]:
    try:
        import torch
        import torchaudio  # noqa: F401 - a build that does not fit torch's fails here
    except (ImportError, OSError) as error:
        yield Finding(AREA, "torch", Status.PROBLEM, f"torch and torchaudio do not load together: {error}", INSTALL)
        return
    from cmi_bench.inference.devices import resolve_devices

    gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    there = f"torch {torch.__version__}; {', '.join(gpus) or 'no GPU'}"
    try:
        devices = resolve_devices(config.trainer["accelerator"], config.trainer["devices"])
    except UserError as error:
        yield Finding(AREA, "devices", Status.PROBLEM, error.what, error.hint)
        return
    chosen = f"{there}; a run uses {devices.accelerator} {devices.selected}"
    if not gpus and str(config.model.get("_target_")).endswith("CmiRM"):
        found = f"{chosen}: the whole benchmark takes hours, on few cores a day."
        yield Finding(AREA, "devices", Status.WARNING, found, "Use a machine with a GPU, or a part: limit=20")
    else:
        yield Finding(AREA, "devices", Status.OK, chosen)


def _decoders() -> Iterator[Finding]:
    import soundfile

    from cmi_bench.audio.decoders import decoder_versions

    there = "; ".join(f"{name} {number}" for name, number in decoder_versions().items())
    lacking = {"WAV", "FLAC", "OGG", "MP3"} - set(soundfile.available_formats())
    if lacking:
        mend = "pip install --force-reinstall soundfile (its wheel has a libsndfile that can)"
        yield Finding(AREA, "decoders", Status.PROBLEM, f"{there} cannot read {', '.join(sorted(lacking))}.", mend)
    else:
        yield Finding(AREA, "decoders", Status.OK, there)
