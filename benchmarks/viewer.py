"""How large the page of `cmi-bench view` is and how soon it shows its rows: four runs of the whole benchmark.

`python -m benchmarks.viewer [ROWS]`: rows in the numbers of the benchmark (ROWS in all, 2,753 if not given), with
prompts and lyrics as long as people write them. Results are printed and go to `outputs/bench/viewer.md`.
"""

import os
import platform
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.browser import browser
from cmi_bench.config import MetricSettings
from cmi_bench.data import fields
from cmi_bench.data.datasets import CMI_PREF, MUSIC_ARENA, MUSIC_EVAL, PAM, Dataset, PairTask
from cmi_bench.evaluation.pairing import Run
from cmi_bench.reporting.viewer.audio import AudioMode, PageAudio
from cmi_bench.reporting.viewer.page import Bound, write_view
from cmi_bench.utils.files import write_text_atomic

SOURCES = {
    CMI_PREF: "cmi-arena-annotation",
    PAM: "PAM (music)",
    MUSIC_EVAL: "MusicEval",
    MUSIC_ARENA: "Music Arena ['01-2025JULAUG']",
}
LABELS = ("first", "second", "third", "fourth")
OPENED = 7
"""How often the page is opened."""
WORDS = re.findall(
    r"\w+",
    "slow warm piano strings over soft vinyl noise a female voice sings of rain and leaving the city at night "
    "driving drums distorted guitar bright synth arpeggio deep bass minor key chorus lifts and falls again quietly",
)


def rows(total: int, run: int) -> Iterator[dict[str, Any]]:
    """Yield results rows; people's part is the same for every run."""
    people, model = np.random.default_rng(0), np.random.default_rng(1000 + run)
    known = sum(dataset.rows or 0 for dataset in SOURCES)
    for dataset, source in SOURCES.items():
        for number in range(round(total * (dataset.rows or 0) / known)):
            yield _row(dataset, source, number, people, model)


def _row(
    dataset: Dataset, source: str, number: int, people: np.random.Generator, model: np.random.Generator
) -> dict[str, Any]:
    row = {
        fields.SOURCE: source,
        fields.SPLIT: "test",
        fields.PROMPT: _text(people, 15, 60),
        fields.AUDIO_A: f"{dataset.slug}/generated-audio/{number:06}-a.mp3",
        fields.SYSTEM_A: f"system-{people.integers(30)}",
        fields.VALID_A: True,
    }
    if dataset is CMI_PREF:
        row[fields.LYRICS] = "\n".join(_text(people, 5, 9) for _ in range(40)) if number % 2 else ""
        row[fields.REF_AUDIO] = f"{dataset.slug}/references/{number:06}.mp3" if number % 4 > 1 else ""
    if dataset.is_paired:
        row |= {fields.AUDIO_B: str(row[fields.AUDIO_A]).replace("-a.mp3", "-b.mp3"), fields.VALID_B: True}
        row[fields.SYSTEM_B] = f"system-{people.integers(30)}"
    for task in dataset.tasks:
        is_pair = isinstance(task, PairTask)
        row[task.label_field] = str(people.choice(["model_a", "model_b"])) if is_pair else people.uniform(1, 5)
        score = fields.SCORE_FIELD[task.aspect]
        row |= {name: model.normal() for name in ((score, score + fields.SIDE_B) if is_pair else (score,))}
    return row


def _text(chance: np.random.Generator, least: int, most: int) -> str:
    return " ".join(chance.choice(WORDS, size=chance.integers(least, most + 1)))


class Opening(NamedTuple):
    """One opening of the page, in milliseconds since its navigation began."""

    first_paint: float
    rows_shown: float
    """When the first rows are in the page."""
    filtered: float
    """From asking for another filter and order to having the rows, in milliseconds."""


FILTER = """
(() => {
  const start = performance.now();
  location.hash = "mark=wrong&sort=-apart&q=rain";
  return new Promise((done) => addEventListener("hashchange", () => requestAnimationFrame(
    () => done(performance.now() - start)), { once: true }));
})()
"""


def open_page(file: Path) -> list[Opening]:
    """Open the page several times, each in a browser of its own."""
    found = []
    for _ in range(OPENED):
        with browser(width=1440) as page:
            page.open(file.as_uri())
            page.wait_for(
                "performance.getEntriesByType('paint').length && document.querySelector('.body .line') && true"
            )
            painted = page.run("performance.getEntriesByName('first-contentful-paint')[0].startTime")
            shown = page.run("performance.getEntriesByName('rows-shown')[0].startTime")
            found.append(Opening(painted, shown, page.run(FILTER)))
    return found


def report(total: int, folder: Path) -> str:
    """Measure, and return the figures as Markdown."""
    runs = [Run(label, list(rows(total, number)), label) for number, label in enumerate(LABELS)]
    start = time.perf_counter()
    audio = PageAudio(AudioMode.LINK, [folder], folder)
    written = write_view(runs, MetricSettings(), folder / "view.html", audio=audio, bound=Bound(max(total, 1)))
    seconds = time.perf_counter() - start
    openings = open_page(written.file)
    size = written.file.stat().st_size / 1e6
    lines = [
        f"{written.n_rows:,} rows of {len(runs)} runs: {size:.2f} MB, written in {seconds:.1f} s; opened {OPENED} times"
        f" on {platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}.",
        "",
        "| milliseconds | median | largest |",
        "|---|---:|---:|",
    ]
    for name in Opening._fields:
        values = [getattr(one, name) for one in openings]
        lines.append(f"| {name.replace('_', ' ')} | {statistics.median(values):.0f} | {max(values):.0f} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, print and keep."""
    total = int(sys.argv[1]) if len(sys.argv) > 1 else sum(dataset.rows or 0 for dataset in SOURCES)
    with tempfile.TemporaryDirectory() as folder:
        text = report(total, Path(folder))
    write_text_atomic(Path("outputs/bench/viewer.md"), text)
    sys.stdout.write(text)


if __name__ == "__main__":
    main()
