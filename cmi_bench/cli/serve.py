"""`cmi-bench serve`: reward models behind HTTP, until a signal ends it."""

import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from cmi_bench.cli.options import ModelOptions
from cmi_bench.cli.score import model_config
from cmi_bench.errors import UserError
from cmi_bench.utils.command import loading
from cmi_bench.utils.console import print_error, print_view
from cmi_bench.utils.installation import install_command

if TYPE_CHECKING:
    from cmi_bench.config import Config

TOKEN = "CMI_BENCH_TOKEN"
"""The environment variable that holds what requests have to show."""
MEGABYTE = 10**6
FORCED = 143
"""Exit code, as shells have it, of a server that was told twice to end."""


@dataclass(frozen=True)
class ServeOptions:
    """Where the server listens, and what it takes."""

    host: str
    port: int
    audio_root: Path | None
    max_mb: float
    """Of a request's body, in 10^6 bytes."""
    max_seconds: float
    """Of an audio file."""
    max_songs: int
    """In a request."""
    queue: int
    """Songs on their way at once."""
    queue_seconds: float
    """Seconds of audio on their way at once."""
    max_wait: float
    """Milliseconds that a batch waits for more songs."""
    body_timeout: float
    """Seconds that a request's body may take."""

    def __post_init__(self) -> None:
        if self.max_songs > self.queue:
            raise UserError(
                f"--max-songs {self.max_songs} is more than --queue {self.queue}: such a request would never be taken.",
                "Raise --queue, or lower --max-songs.",
            )
        if self.audio_root is not None and not self.audio_root.is_dir():
            raise UserError(f"--audio-root {self.audio_root} is no folder.", "Give the folder that holds the audio.")


def served_models(words: Sequence[str], checkpoint: str | None) -> dict[str, tuple[str | None, str | None]]:
    """Return the name and the checkpoint of each model, by what requests call it.

    >>> served_models(["signal", "mine=cmi_rm:runs/step_3"], None)
    {'signal': ('signal', None), 'mine': ('cmi_rm', 'runs/step_3')}

    Args:
        words: As `--model` has them.
        checkpoint: Of the only model, where it is given by itself.

    Raises:
        UserError: Two have one name, or the checkpoint is not any one model's.
    """
    if not words:
        return {Path(checkpoint).name if checkpoint else "cmi_rm": (None, checkpoint)}
    if checkpoint is not None and (len(words) > 1 or ":" in words[0]):
        raise UserError("--checkpoint goes with one --model.", "Write --model NAME:CHECKPOINT for each.")
    found: dict[str, tuple[str | None, str | None]] = {}
    for word in words:
        named, has_checkpoint, own = word.partition(":")
        alias, has_alias, name = named.partition("=")
        name = name if has_alias else alias
        if not alias or not name or (has_checkpoint and not own):
            raise UserError(
                f"--model {word!r} is not understood.", "Write NAME, NAME:CHECKPOINT or ALIAS=NAME:CHECKPOINT."
            )
        if alias in found:
            raise UserError(f"Two models are called {alias!r}.", f"Give one another name: --model other={word}.")
        found[alias] = (name, own or checkpoint)
    return found


def serve(models: Mapping[str, ModelOptions], options: ServeOptions) -> int:
    """Serve until a signal, and return the exit code.

    Args:
        models: By what requests call them.
        options: Where, and what is taken.

    Raises:
        UserError: A model, a device, a setting, the address or the environment is not right.
    """
    token = os.environ.get(TOKEN) or None
    if token is None and not _is_loopback(options.host):
        raise UserError(
            f"--host {options.host} lets other machines in, and there is no token.",
            f"Set the environment variable {TOKEN}, such as to what `openssl rand -hex 32` prints; clients show it.",
        )
    devices = _devices(next(iter(models.values())).device)
    _check_extra()
    with _listener(options) as listener:
        configs = {name: model_config(replace(one, device=devices[0])) for name, one in models.items()}
        return _serve(configs, devices, options, token, listener)


def _devices(names: str) -> list[str]:
    from cmi_bench.api.load import check_device

    devices = [name.strip() for name in names.split(",") if name.strip()]
    for name in devices:
        check_device(name)
    if not devices or len(set(devices)) < len(devices):
        raise UserError(f"--device {names!r} names no device, or one twice.", "Such as cuda:0,cuda:1.")
    return devices


def _is_loopback(host: str) -> bool:
    return host in ("localhost", "::1") or host.startswith("127.")


def _check_extra() -> None:
    """Make sure that the server's packages are installed.

    Raises:
        UserError: One is not; says how it is installed.
    """
    try:
        import fastapi  # noqa: F401
        import prometheus_client  # noqa: F401
        import python_multipart  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise UserError(
            f"The server needs the package {error.name}.", f"Install it: {install_command('serve')}."
        ) from None


def _listener(options: ServeOptions) -> socket.socket:
    from cmi_bench.serving.listen import listening

    return listening(options.host, options.port)


def _serve(
    configs: "Mapping[str, Config]",
    devices: Sequence[str],
    options: ServeOptions,
    token: str | None,
    listener: socket.socket,
) -> int:
    with loading("torch"):  # which takes two seconds: mistakes are told before
        from cmi_bench.serving.app import create_app
        from cmi_bench.serving.listen import address_of, make_server
        from cmi_bench.serving.loaded_model import ModelToServe
        from cmi_bench.serving.service import RewardService, ServiceSettings
        from cmi_bench.serving.spool import SpoolFolder
        from cmi_bench.serving.wire import Limits

    limits = Limits(
        max_bytes=int(options.max_mb * MEGABYTE), max_seconds=options.max_seconds, max_songs=options.max_songs
    )
    settings = ServiceSettings(
        limits=limits,
        queue_songs=options.queue,
        queue_seconds=options.queue_seconds,
        patience=options.max_wait / 1000,
        audio_root=options.audio_root,
    )
    failures: list[BaseException] = []

    def failed(error: BaseException) -> None:
        failures.append(error)
        server.end()

    with SpoolFolder() as spool:
        service = RewardService(
            [ModelToServe(name, config) for name, config in configs.items()], devices, spool, settings
        )
        app = create_app(service, token=token, body_seconds=options.body_timeout, failed=failed)

        def end_at_once() -> None:
            print_error("Ended at once: songs that were on their way have no answer.")
            spool.close()
            os._exit(FORCED)

        server = make_server(app, end_at_once)
        address = address_of(listener)
        print_view(
            f"Loading {', '.join(configs)}. {address}/health tells when the server is ready, {address}/docs how to ask."
        )
        server.run(sockets=[listener])
    if failures:
        raise failures[0]
    print_view("Stopped. All songs that were taken are answered.")
    return 0
