"""How fast CMI-RM's head trains on cached embeddings: seconds of a step and of stage 2, memory, waiting, disk.

`python -m benchmarks.training [STEPS]` writes 6,647 rows of random embeddings, as many as stage 2 learns from and of
lengths like theirs (7 GB for a while), and trains a random head of the released sizes for some steps, by the loop that
`task=train` has. Stage 2 as a whole is reckoned from these. Results are printed and go to `outputs/bench/`.

`DEVICE=cuda` measures on a graphics processor.
"""

import argparse
import json
import os
import platform
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from rich.table import Table

from benchmarks.workload import DIM, REWARD
from cmi_bench.data import fields
from cmi_bench.data.datasets import dataset_by_slug
from cmi_bench.data.rows import Row
from cmi_bench.hydra_compose import compose_config
from cmi_bench.models.base import AudioView, InputKind
from cmi_bench.models.batching import computes_bf16
from cmi_bench.models.cmi_rm.head import JointHead
from cmi_bench.models.heads import Widths
from cmi_bench.scoring.embedding_cache import GIGABYTE, EmbeddingCache
from cmi_bench.scoring.embedding_items import EmbeddingAddresses
from cmi_bench.tasks.scoring import run_devices
from cmi_bench.tracking.metadata import versions
from cmi_bench.training.batches import TrainingBatches, ValidationBatches, learnt_rows
from cmi_bench.training.embeddings import TrainingEmbeddings
from cmi_bench.training.examples import Example, Label, Outcome
from cmi_bench.training.fit import fit
from cmi_bench.training.kept import KeptCheckpoints
from cmi_bench.training.module import TrainingModule
from cmi_bench.training.objective import Objective
from cmi_bench.training.sampling import Sampler
from cmi_bench.training.validation import Validation
from cmi_bench.training_config import TrainTask
from cmi_bench.types import Aspect
from cmi_bench.utils.console import peak_memory, plain_text, print_view
from cmi_bench.utils.distributed import cores
from cmi_bench.utils.files import content_key, write_text_atomic

PAIRS, RATED = 3527, 3120
"""Rows of CMI-Pref and MusicEval that stage 2 learns from."""
STAGE_2_STEPS, VALIDATIONS, SET_ASIDE = 250, 6, 665
"""Of stage 2: its steps, how often rows that are set aside are scored, and how many they are."""
MAX_DUR = 120.0
FRAMES = 25 / 4
"""Of a second of audio, after the mean over four."""
STEPS = 6
"""Measured by default; the first is left out."""
VALIDATED = 12
"""Rows that are scored to measure how long validation takes: evenly chosen, so that they are of both kinds."""


class Lengths(NamedTuple):
    """Random lengths like those of the data: of CMI-Pref's clips half have 30 s and the mean is 69 s."""

    random: np.random.Generator

    def song(self) -> float:
        """Return the seconds of a clip, or a reference, of CMI-Pref."""
        return 30.0 if self.random.random() < 0.55 else float(self.random.uniform(60, 174))

    def short_clip(self) -> float:
        """Return the seconds of a clip of MusicEval."""
        return float(self.random.uniform(10, 30))

    def prompt(self) -> int:
        """Return the tokens of a prompt."""
        return int(self.random.integers(10, 60))

    def lyrics(self) -> int:
        """Return the tokens of lyrics."""
        return int(self.random.integers(100, 500))


@dataclass(frozen=True)
class Workload:
    """Rows, and how long what they name is."""

    examples: Sequence[Example]
    seconds: Mapping[str, float]
    """Of each audio file, as far as it is looked at."""
    tokens: Mapping[str, int]
    """Of each text."""

    @property
    def hours(self) -> float:
        """Of audio that is embedded."""
        return sum(self.seconds.values()) / 3600


def make_workload(pairs: int = PAIRS, rated: int = RATED, *, seed: int = 0) -> Workload:
    """Return rows as stage 2 has them: pairs of CMI-Pref, half with lyrics and half with a reference, and MusicEval's.

    Args:
        pairs: Rows of CMI-Pref.
        rated: Rows of MusicEval.
        seed: Of lengths and labels.
    """
    random = np.random.default_rng(seed)
    lengths = Lengths(random)
    seconds: dict[str, float] = {}
    tokens: dict[str, int] = {"": 2}
    examples: list[Example] = []
    for number in range(pairs + rated):
        tokens[prompt := f"prompt {number}"] = lengths.prompt()
        if number >= pairs:
            seconds[name := f"{number}.wav"] = lengths.short_clip()
            examples.append(_rated(number, name, prompt, float(random.uniform(1, 5))))
            continue
        lyrics = f"lyrics {number}" if random.random() < 0.5 else ""
        reference = f"{number} reference.mp3" if random.random() < 0.5 else None
        tokens |= {lyrics: lengths.lyrics()} if lyrics else {}
        a, b = f"{number}a.mp3", f"{number}b.mp3"
        seconds |= {name: min(lengths.song(), MAX_DUR) for name in filter(None, (a, b, reference))}
        said = {aspect: Outcome(int(random.integers(2))) for aspect in Aspect}
        labels = {LABEL_FIELD[aspect]: "model_a" if side is Outcome.A else "model_b" for aspect, side in said.items()}
        row = Row(number + 1, dataset_by_slug("cmi_pref"), a, b, reference, prompt, lyrics, labels)
        examples.append(Example(row, "cmi_pref", tuple(Label(aspect, side) for aspect, side in said.items())))
    return Workload(examples, seconds, tokens)


LABEL_FIELD = {
    Aspect.MUSICALITY: fields.PREFERENCE_MUSICALITY,
    Aspect.ALIGNMENT: fields.PREFERENCE_ALIGNMENT,
}


def _rated(number: int, name: str, prompt: str, rating: float) -> Example:
    row = Row(number + 1, dataset_by_slug("musiceval"), name, None, None, prompt, "", {fields.MUSICALITY_MOS: rating})
    return Example(row, "musiceval", (Label(Aspect.MUSICALITY, rating),))


VIEW = AudioView(f"the first {MAX_DUR:g} s", MAX_DUR, 30.0)
KINDS: tuple[InputKind, ...] = ("audio", "ref_audio", "text", "lyrics")
ADDRESSES = EmbeddingAddresses(
    MAX_DUR,
    views={False: VIEW, True: VIEW},
    audio_encoder={"encoder": "random"},
    text_encoder={"encoder": "random"},
    pooling=dict.fromkeys(KINDS, "mean over four"),
)


def embeddings_of(workload: Workload, cache: EmbeddingCache, memory_gb: float) -> TrainingEmbeddings:
    """Return what reads the embeddings of a workload."""
    digests = {Path(name): content_key(name=name) for name in workload.seconds}
    return TrainingEmbeddings(ADDRESSES, cache, root=Path(), digests=digests, memory_gb=memory_gb)


def write_embeddings(workload: Workload, cache: EmbeddingCache) -> int:
    """Write random numbers where the embeddings of a workload are read; returns their bytes."""
    noise = torch.randn(4096, DIM, generator=torch.Generator().manual_seed(0)).half()
    written = 0

    def put(key: str, kind: InputKind, length: int) -> None:
        nonlocal written
        address = ADDRESSES.compact(key, kind)
        start = int(address[:8], 16) % (len(noise) - length)
        written += cache.put(address, [noise[start : start + length]])

    for example in workload.examples:
        row = example.row
        for name in filter(None, (row.audio_a, row.audio_b, row.ref_audio)):
            kind: InputKind = "ref_audio" if name == row.ref_audio else "audio"
            key = ADDRESSES.audio(content_key(name=name), is_reference=kind == "ref_audio")
            put(key, kind, int(workload.seconds[name] * FRAMES))
        put(ADDRESSES.text(row.prompt), "text", workload.tokens[row.prompt])
        put(ADDRESSES.text(row.lyrics), "lyrics", workload.tokens[row.lyrics])
    return written


@dataclass(frozen=True)
class TrainingSpeed:
    """What training in one precision came to."""

    device: str
    precision: str
    step_seconds: list[float]
    """Of each step but the first."""
    processor_seconds: float
    """Of a step, over all cores: the mean. On a machine that others use too it says more."""
    waited_share: float
    """Of these seconds, the share that was spent waiting for embeddings."""
    clip_seconds: float
    """Of validation, for each clip."""
    peak_gb: Mapping[str, float]

    @property
    def step(self) -> float:
        """Seconds of a step: the median."""
        return statistics.median(self.step_seconds)

    def stage_2(self, clips_set_aside: int) -> float:
        """Return the seconds of stage 2: its steps and its validations."""
        return STAGE_2_STEPS * self.step + VALIDATIONS * clips_set_aside * self.clip_seconds


class Clock:
    """Notes when steps and validations were done."""

    def __init__(self) -> None:
        self.steps: list[float] = []
        """When each was done."""
        self.processor: list[float] = []
        """Processor seconds by then."""
        self.started = self.validated = 0.0

    def tell(self, step: int, values: Mapping[str, float]) -> None:
        """Take a point of the curves."""
        if "train/loss" in values:
            self.steps.append(time.perf_counter())
            self.processor.append(time.process_time())
        elif step == 0:
            self.started = time.perf_counter()
        else:
            self.validated = time.perf_counter()


def measure(
    workload: Workload, cache: Path, folder: Path, *, device: str | None, precision: str, steps: int
) -> TrainingSpeed:
    """Train a random head of the released sizes for some steps.

    Args:
        workload: What is learnt from.
        cache: Where its embeddings are.
        folder: For what training writes.
        device: As `device=` of a command; None takes a graphics processor where there is one.
        precision: "32" or "bf16".
        steps: At least two; the first is left out.
    """
    words = (f"+device={device}" if device else "device=null", "tracking=none", f"train.precision={precision}")
    loop = (f"train.max_steps={steps}", f"train.validate_every={steps}", "train.keep_every=0", "train.patience=null")
    config = compose_config(overrides=["task=train", "model=cmi_rm", RECIPE, *words, *loop])
    assert isinstance(config, TrainTask)
    embeddings = embeddings_of(workload, EmbeddingCache(cache), config.train.memory_gb)
    objective = Objective(config.loss, {one.source for one in workload.examples})
    validation = Validation(
        workload.examples[:: len(workload.examples) // VALIDATED],
        objective,
        config.metrics,
        monitor=config.train.monitor,
    )
    rows = learnt_rows(workload.examples, objective)
    sampler = Sampler(workload.examples, config.sampling, batch_size=config.train.batch_size, steps=steps, seed=0)
    module = TrainingModule(
        JointHead(Widths(DIM, DIM, DIM, DIM), torch.Generator().manual_seed(0), init="scratch", architecture=REWARD),
        objective,
        config.optimizer,
        training=lambda share: TrainingBatches(rows, sampler, embeddings.read, share, steps=steps),
        validation=lambda share: ValidationBatches(validation.rows, embeddings.read, share, size=VALIDATED),
        steps=steps,
        workers=0,
        state_seconds=3600.0,
    )
    clock = Clock()
    kept = KeptCheckpoints(folder, lambda path, step, figures: None, is_lower_better=True, every=0, last=1)
    fitted = fit(
        module, validation, kept, config.train, folder=folder, trainer_settings=config.trainer,
        devices=run_devices(config), tell=clock.tell,
    )  # fmt: skip
    clips = sum(row.clips for row in validation.rows)
    return TrainingSpeed(
        device=str(module.device),
        precision=precision,
        step_seconds=[float(one) for one in np.diff(clock.steps)],
        processor_seconds=(clock.processor[-1] - clock.processor[0]) / (steps - 1),
        waited_share=fitted.seconds_waited / (clock.steps[-1] - clock.started),
        clip_seconds=(clock.validated - clock.steps[-1]) / clips,
        peak_gb=peak_memory(),
    )


RECIPE = "recipe=cmi_rm_stage2"
OUTPUT = Path("outputs/bench")
SPACE = 9e9
"""Bytes of disk that are needed for a while."""


def main() -> None:
    """Measure, print, and write `training.json` and `training.txt`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("steps", type=int, nargs="?", default=STEPS, help="steps of training")
    steps = parser.parse_args().steps
    device = os.environ.get("DEVICE") or "cpu"
    if shutil.disk_usage(tempfile.gettempdir()).free < SPACE:
        sys.exit(f"{tempfile.gettempdir()} needs {SPACE / 1e9:.0f} GB for a while; set TMPDIR to another disk.")
    workload = make_workload()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        size = write_embeddings(workload, EmbeddingCache(folder / "cache"))
        speeds = []
        for precision in precisions(device):
            # In a process of its own: peaks of memory are a process's.
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
                (where := folder / precision).mkdir()
                speeds.append(pool.submit(_measured, folder / "cache", where, device, precision, steps).result())
    facts = {
        "rows": len(workload.examples),
        "hours of audio": round(workload.hours, 1),
        "cache, GB": round(size / GIGABYTE, 2),
        "cache of an hour of audio, MB": round(audio_bytes(workload) / workload.hours / 1e6, 1),
    }
    about = f"{platform.processor() or platform.machine()}, {cores()} cores, {speeds[0].device}"
    views: list[Table | str] = [
        f"{about}; {steps} steps each, the first left out",
        _table(speeds, workload),
        _fact_table(facts),
    ]
    for view in views:
        print_view(view)
    OUTPUT.mkdir(parents=True, exist_ok=True)
    document = {
        "machine": about,
        "versions": versions(),
        "facts": facts,
        "speeds": [asdict(one) | {"step": one.step, "stage_2": one.stage_2(_set_aside(workload))} for one in speeds],
    }
    write_text_atomic(OUTPUT / "training.json", json.dumps(document, indent=2))
    write_text_atomic(OUTPUT / "training.txt", "\n".join(plain_text(view) for view in views))


def _measured(cache: Path, folder: Path, device: str, precision: str, steps: int) -> TrainingSpeed:
    return measure(make_workload(), cache, folder, device=device, precision=precision, steps=steps)


def precisions(device: str) -> list[str]:
    """Return what can be measured: bfloat16 only where the device multiplies it by itself."""
    return ["32", "bf16"] if device != "cpu" or computes_bf16() else ["32"]


def audio_bytes(workload: Workload) -> float:
    """Return the bytes of the embeddings of a workload's audio, without their files' headers."""
    return sum(int(seconds * FRAMES) * DIM * 2 for seconds in workload.seconds.values())


def _set_aside(workload: Workload) -> int:
    """Return how many clips a tenth of the rows has."""
    clips = sum(1 if one.row.audio_b is None else 2 for one in workload.examples)
    return clips * SET_ASIDE // len(workload.examples)


def _table(speeds: Sequence[TrainingSpeed], workload: Workload) -> Table:
    table = Table(title="Training CMI-RM's head", title_justify="left")
    for name in (
        "precision",
        "step, s",
        "step, processor s",
        "stage 2, min",
        "waiting",
        "peak memory, GB",
        "on the device, GB",
    ):
        table.add_column(name, justify="right")
    for one in speeds:
        table.add_row(
            one.precision,
            f"{one.step:.2f}",
            f"{one.processor_seconds:.2f}",
            f"{one.stage_2(_set_aside(workload)) / 60:.0f}",
            f"{one.waited_share:.1%}",
            f"{one.peak_gb['process_gb']:.1f}",
            f"{one.peak_gb['device_gb']:.1f}" if "device_gb" in one.peak_gb else "",
        )
    return table


def _fact_table(facts: Mapping[str, float]) -> Table:
    table = Table(show_header=False)
    for name, value in facts.items():
        table.add_row(name, f"{value:,}")
    return table


if __name__ == "__main__":
    main()
