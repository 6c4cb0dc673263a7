"""`cmi-bench ui`: the runs and models in MLflow's own pages, opened where they are."""

import contextlib
import signal
import sys
import time
import webbrowser
from dataclasses import replace

from cmi_bench.hydra_compose import compose_config
from cmi_bench.tracking.mlflow_store import find_experiment
from cmi_bench.tracking.mlflow_ui import models_page, runs_page, served
from cmi_bench.utils.console import print_error, print_view

HOUR = 3600.0
TERMINATED = 143
"""Exit code, as shells have it."""


def ui(store: str | None, experiment: str | None, *, port: int, show: bool) -> int:
    """Serve a store until Ctrl-C, and open the page of its models.

    Args:
        store: A SQLite store or a server; None for that of `conf/`.
        experiment: Its name; None for that of `conf/`.
        port: Where a SQLite store is served.
        show: Open the page in a browser.

    Returns:
        The exit code.

    Raises:
        UserError: There is no such store or experiment, or the port is taken.
    """
    settings = compose_config().tracking
    settings = replace(settings, uri=store or settings.uri, experiment=experiment or settings.experiment)
    found = find_experiment(settings)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED))  # the server ends with this process
    with served(settings, port=port) as server:
        address = models_page(server, found)
        print_view(f"Models: {address}")
        print_view(f"Runs:   {runs_page(server, found)}")
        if show and not webbrowser.open(address):
            print_error("No browser could be started: open the page by its address.")
        if server != settings.uri:
            print_view("Ctrl-C ends the server.")
            with contextlib.suppress(KeyboardInterrupt):
                while True:
                    time.sleep(HOUR)
    return 0
