"""A training in the small: pairs and ratings of clips that are one vector each, judged by a hidden direction.

As a program it trains in a folder, to be killed or to run in two processes: `python toy_training.py FOLDER key=value`.
"""

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from cmi_bench.config import MetricSettings
from cmi_bench.data.datasets import dataset_by_slug
from cmi_bench.data.rows import Row
from cmi_bench.models.base import EmbeddedInput
from cmi_bench.models.heads import Widths, build_head
from cmi_bench.training.batches import TrainingBatches, ValidationBatches, learnt_rows
from cmi_bench.training.examples import Example, Label, Outcome
from cmi_bench.training.fit import fit
from cmi_bench.training.kept import KeptCheckpoints
from cmi_bench.training.module import TrainingModule
from cmi_bench.training.objective import Objective
from cmi_bench.training.sampling import Sampler
from cmi_bench.training.validation import Validation
from cmi_bench.training_config import LossConfig, Monitor, OptimizerConfig, SamplingConfig, TrainConfig
from cmi_bench.types import Aspect
from cmi_bench.utils.distributed import Devices

WIDTH = 6
LIGHTNING = {
    "_target_": "lightning.pytorch.Trainer",
    "logger": False,
    "enable_checkpointing": False,
    "enable_model_summary": False,
    "enable_progress_bar": False,
}


def pair(index, *, prompt="", systems=("x", "y"), outcome=Outcome.A, source="cmi_pref"):
    """Return an example of CMI-Pref."""
    raw = {
        "source": "cmi-pref",
        "prompt": prompt or f"prompt {index // 2}",
        "model_a": systems[0],
        "model_b": systems[1],
        "preference-musicality": {Outcome.A: "model_a", Outcome.B: "model_b"}.get(outcome, "tie"),
    }
    row = Row(index, dataset_by_slug("cmi_pref"), f"{index}a.wav", f"{index}b.wav", None, raw["prompt"], "", raw)
    return Example(row, source, (Label(Aspect.MUSICALITY, outcome),))


def rating(index, *, prompt="", system="x", value=3.0):
    """Return an example of MusicEval."""
    raw = {"source": "musiceval", "prompt": prompt or f"prompt {index // 2}", "model_a": system, "musicality": value}
    row = Row(index, dataset_by_slug("musiceval"), f"{index}.wav", None, None, raw["prompt"], "", raw)
    return Example(row, "musiceval", (Label(Aspect.MUSICALITY, value),))


class Toy:
    """Rows, their embeddings, and what trains on them."""

    def __init__(self, rows=120):
        rng = np.random.default_rng(0)
        direction = rng.normal(size=WIDTH)
        self.examples, self.embedded = [], {}
        for index in range(1, rows + 1):
            a, b = rng.normal(size=(2, WIDTH))
            prefers_a = rng.random() < 1 / (1 + np.exp(-(a - b) @ direction))
            self.examples.append(pair(index, outcome=Outcome.A if prefers_a else Outcome.B))
            text, lyrics = (torch.tensor(rng.normal(size=(1, WIDTH)), dtype=torch.float16) for _ in range(2))
            self.embedded[index] = [
                EmbeddedInput([torch.tensor(clip[None], dtype=torch.float16)], text, lyrics, None) for clip in (a, b)
            ]

    def read(self, row):
        """Return the embeddings of a row."""
        return self.embedded[row.index]

    def train(self, folder, *, on_write=None, devices=1, sampling=None, dropout=0.2, lr=1e-2, workers=0, **settings):
        """Train in a folder; return what came of it, the checkpoints and the head.

        Args:
            folder: Where.
            on_write: Is called with the step before a checkpoint is written.
            devices: Processes.
            sampling: Settings.
            dropout: Of the head.
            lr: Learning rate.
            workers: Processes that read.
            settings: Of the loop.
        """
        loop = replace(
            TrainConfig(max_steps=12, batch_size=8, validate_every=4, keep_every=4, save_seconds=0), **settings
        )
        learnt, set_aside = self.examples[:-30], self.examples[-30:]
        spec = {"_target_": "cmi_bench.models.heads.MlpHead", "hidden": [8], "rank": 2, "dropout": dropout}
        head = build_head(spec, Widths.of(self.embedded[1]), backbone=None, seed=0)
        objective = Objective(LossConfig(name="toy"))
        rows = learnt_rows(learnt, objective)
        sampler = Sampler(
            learnt, sampling or SamplingConfig(drop_text=0.3), batch_size=loop.batch_size, steps=loop.max_steps, seed=0
        )
        validation = Validation(set_aside, objective, MetricSettings(), monitor=loop.monitor or Monitor.loss)
        module = TrainingModule(
            head,
            objective,
            OptimizerConfig(name="toy", lr=lr, warmup_steps=3),
            training=lambda share: TrainingBatches(rows, sampler, self.read, share, steps=loop.max_steps),
            validation=lambda share: ValidationBatches(validation.rows, self.read, share, size=7),
            steps=loop.max_steps,
            accumulate=loop.accumulate,
            state_seconds=loop.save_seconds,
            workers=workers,
        )

        def write(path, step, figures):
            if on_write is not None:
                on_write(step)
            path.mkdir(parents=True, exist_ok=True)
            save_file(head.state_dict(), path / "model.safetensors")

        kept = KeptCheckpoints(
            Path(folder), write, validation.is_lower_better, every=loop.keep_every, last=loop.keep_last
        )
        trainer = LIGHTNING | ({"strategy": "ddp"} if devices > 1 else {})
        where = Devices("cpu", devices, "cpu")
        fitted = fit(module, validation, kept, loop, folder=Path(folder), trainer_settings=trainer, devices=where)
        return fitted, kept, head


def main(folder, *words):
    """Train in a folder with the settings of these words; Lightning starts a second process by the same ones."""
    sys.argv = [__file__, folder, *words]
    torch.set_num_threads(1)
    Path(folder).mkdir(parents=True, exist_ok=True)
    settings = dict(word.split("=", 1) for word in words)
    Toy().train(folder, **{key: json.loads(value) for key, value in settings.items()})


if __name__ == "__main__":
    main(*sys.argv[1:])
