"""A training in two processes, in the first of which the model is scored: `python FILE DATA_ROOT FOLDER`."""

import sys
from pathlib import Path

import lightning.pytorch as pl
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import cmi_bench

ROOT, FOLDER = map(Path, sys.argv[1:])


class Judge(pl.LightningModule):
    sr = 8000
    audio_input = "waveform"

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(1, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))

    def score_batch(self, inputs, batch_size, max_dur):
        return self.net(torch.stack([one.audio.std().reshape(1) for one in inputs])).numpy()

    def training_step(self, batch, index):
        return (self.net(batch[0]) - 1).square().mean()

    def on_train_epoch_end(self):
        settings = {"tracking": "none", "cache": "off", "metrics": {"report": False, "resamples": 0}, "progress": False}
        data = {"jsonl": ROOT / "all_test.jsonl", "root": ROOT}
        name = f"{self.global_rank} {self.global_step}"
        try:
            cmi_bench.run(self, data=data, step=self.global_step, folder=FOLDER / name, **settings)
        except cmi_bench.UserError as error:
            (FOLDER / f"{name} refused").write_text(str(error))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


if __name__ == "__main__":
    data = DataLoader(TensorDataset(torch.randn(16, 1)), batch_size=4)
    quiet = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    pl.Trainer(max_epochs=2, accelerator="cpu", devices=2, strategy="ddp", **quiet).fit(Judge(), data)
