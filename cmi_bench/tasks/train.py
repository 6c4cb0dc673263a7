"""`task=train`: from rows with labels to checkpoints of a reward model.

What can be wrong with rows and audio is found before torch and Lightning are imported, which takes seconds.
"""

import time
from pathlib import Path

from cmi_bench.data.synthetic.build import ensure_minis
from cmi_bench.training.data import load_training_data
from cmi_bench.training_config import TrainTask
from cmi_bench.utils.command import loading


def run_train(config: TrainTask, folder: Path) -> None:
    """Train heads on the embeddings of the configured model; every output goes to `folder`.

    Raises:
        UserError: Rows, labels, audio, model or device are not right; nothing that was computed is lost.
    """
    started = time.monotonic()
    if config.data.synthesise:
        ensure_minis(Path(config.data.root), Path(config.data.train_root))
    data = load_training_data(config, folder)
    with loading("torch and Lightning"):
        from cmi_bench.tasks.training import train_on

    train_on(data, config, folder, started=started)
