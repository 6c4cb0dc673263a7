"""`task=train`: from rows with labels to checkpoints of a reward model.

What can be wrong with rows and audio is found before torch and Lightning are imported, which takes seconds.
"""

import logging
import time
from pathlib import Path

from cmi_bench.data.synthetic.build import ensure_mini
from cmi_bench.data.synthetic.labels import MiniSplit
from cmi_bench.training.examples import load_examples
from cmi_bench.training.identity import audio_digests
from cmi_bench.training.splits import Split, split_examples
from cmi_bench.training_config import TrainTask
from cmi_bench.utils.console import spinner
from cmi_bench.utils.distributed import is_rank_zero

log = logging.getLogger(__name__)


def run_train(config: TrainTask, folder: Path) -> None:
    """Train heads on the embeddings of the configured model; every output goes to `folder`.

    Raises:
        UserError: Rows, labels, audio, model or device are not right; nothing that was computed is lost.
    """
    started = time.monotonic()
    split = load_split(config)
    with spinner("loading torch and Lightning"):
        from cmi_bench.tasks.training import train_on

    train_on(split, config, folder, started=started)


def load_split(config: TrainTask) -> Split:
    """Load the rows with labels, and set some of them aside for validation.

    Raises:
        UserError: They are not right, or there are none.
    """
    if config.data.synthesise:
        ensure_mini(Path(config.data.train_root), MiniSplit.TRAIN)
    found = load_examples(
        config.data,
        sources=config.sampling.sources,
        limit=config.limit,
        use_confidence=config.loss.use_confidence,
    )
    split = split_examples(
        found.examples, config.splits, audio_digests(config.data, (one.row for one in found.examples))
    )
    if is_rank_zero():
        log.info("%s", found.describe())
        log.info("%s", split.describe())
    return split
