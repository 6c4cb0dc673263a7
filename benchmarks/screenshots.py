"""Pictures of MLflow for the documentation: a sweep of four tiny checkpoints, looked at in a real browser.

`python -m benchmarks.screenshots`: scores the mini benchmark with four checkpoints into a store of its own, serves it
with the real MLflow server, and writes `docs/images/mlflow-*.png` with headless Chromium.
"""

import argparse
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

from mlflow import MlflowClient

from benchmarks.browser import Page, browser
from benchmarks.noisy_signal import STEPS, write_checkpoints
from cmi_bench.config import TrackingConfig
from cmi_bench.tracking.mlflow_store import calm_mlflow
from cmi_bench.tracking.mlflow_ui import MACHINE_LEARNING, artifact_page, models_page, runs_page, served
from cmi_bench.utils.console import print_view
from cmi_bench.utils.installation import project_folder

IMAGES = project_folder() / "docs" / "images"
WIDTH, HEIGHT = 1440, 900


def main() -> None:
    """Run the sweep and take the pictures."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        settings = run_sweep(folder)
        with served(settings, port=free_port()) as server, browser(width=WIDTH, height=HEIGHT) as page:
            take_pictures(page, server, settings, IMAGES)


def run_sweep(folder: Path) -> TrackingConfig:
    """Score the mini benchmark with four checkpoints.

    Args:
        folder: Where checkpoints, runs and the store go.

    Returns:
        Where the runs are recorded.
    """
    write_checkpoints(folder / "checkpoints")
    settings = TrackingConfig("mlflow", uri=f"sqlite:///{folder}/mlflow.db", artifacts=str(folder / "artifacts"))
    words = ["model=custom", "model.class_path=benchmarks.noisy_signal:NoisySignal", "data=mini", "+device=cpu"]
    words += ["+sweep=checkpoints", f"sweep.checkpoint_dir={folder}/checkpoints", f"hydra.sweep.dir={folder}/sweep"]
    words += [f"tracking.uri={settings.uri}", f"tracking.artifacts={settings.artifacts}", "tracking.audio=true"]
    subprocess.run([sys.executable, "run.py", "-m", *words], check=True, cwd=project_folder())
    return settings


def free_port() -> int:
    """Return a port that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def take_pictures(page: Page, server: str, settings: TrackingConfig, folder: Path) -> None:
    """Write the pictures.

    Args:
        page: The browser's.
        server: Address of the MLflow server.
        settings: Where the runs are recorded.
        folder: Where the pictures go.
    """
    calm_mlflow()
    client = MlflowClient(server)
    found = client.get_experiment_by_name(settings.experiment)
    runs = client.search_runs([found.experiment_id])
    jobs = [run.info.run_id for run in runs if "mlflow.parentRunId" in run.data.tags]
    names = [f"step_{step}" for step in STEPS]

    page.open(models_page(server, found.experiment_id))
    page.wait_for_text(*names)
    close_assistant(page)
    page.resize(WIDTH, 460)
    page.settle()
    # The columns of the test sets are right of what MLflow itself says of a model.
    page.run("document.querySelector('.ag-body-horizontal-scroll-viewport').scrollLeft = 780")
    page.wait_for_text("SRCC")
    save(page, folder / "mlflow-models.png")

    page.resize(WIDTH, HEIGHT)
    page.open(f"{runs_page(server, found.experiment_id)}&compareRunsMode=CHART")
    page.wait_for_text("by step")
    save(page, folder / "mlflow-steps.png")

    listed = ",".join(f'"{job}"' for job in jobs)
    page.open(f'{server}/#/compare-runs?runs=[{listed}]&experiments=["{found.experiment_id}"]&{MACHINE_LEARNING}')
    page.wait_for_text(*names)
    page.click("[role=button]", "Visualizations")  # folded in, so that the figures are in view
    page.click("[role=switch]")  # of the params those that differ
    page.resize(WIDTH, 1000)
    save(page, folder / "mlflow-compare.png")

    page.resize(WIDTH, HEIGHT)
    page.open(artifact_page(server, found.experiment_id, jobs[0], "report_with_audio.html"))
    page.wait_for("!!document.querySelector('iframe')")
    page.settle(3)
    with page.frame() as report:
        report.run("document.querySelector('audio').preload = 'auto'")
        report.wait_for("document.querySelector('audio').duration > 0")
        report.run("document.querySelector('audio').closest('article').scrollIntoView()")
    # A folder of this machine.
    page.run(
        "[...document.querySelectorAll('*')].filter(one => one.textContent.startsWith('Path: file'))"
        ".forEach(one => one.style.visibility = 'hidden')"
    )
    save(page, folder / "mlflow-report.png")


def close_assistant(page: Page) -> None:
    """Close the panel that a browser is shown on its first visit."""
    page.run("document.querySelector('[aria-label=\"Close\"]')?.click()")
    page.settle()


def save(page: Page, file: Path) -> None:
    """Take a picture when the page has come to rest."""
    page.settle(3)
    page.picture(file)
    print_view(f"{file} ({file.stat().st_size // 1000} kB)")


if __name__ == "__main__":
    main()
