"""The data of a training, as its configuration says: examples that are in no test set, split for validation."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cmi_bench.training.contamination import Checked, check_contamination, named_kinds
from cmi_bench.training.examples import ExampleSet, load_examples
from cmi_bench.training.identity import audio_digests
from cmi_bench.training.splits import Split, check_names, split_examples
from cmi_bench.training_config import TrainTask
from cmi_bench.utils.distributed import is_rank_zero

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainingData:
    """What is learnt from and validated on, and how it came about."""

    split: Split
    found: ExampleSet
    """All examples that there are."""
    checked: Checked
    """What of them is in a test set."""

    @property
    def facts(self) -> dict[str, Any]:
        """What `metadata.json` says of the guards of a training."""
        return {
            "rows_without_label": dict(self.found.unlabelled),
            "validation": {one.source: {"rows": one.rows, "validation": one.validation} for one in self.split.shares},
            "training_rows_like_validation_rows": self.split.leaking,
            "test_rows": dict(self.checked.tests),
            "test_rows_without_digest": self.checked.without_digest,
            "like_test_rows": self.checked.counts,
            "left_out": self.checked.condemned,
        }


def load_training_data(config: TrainTask, folder: Path) -> TrainingData:
    """Load the rows with labels, leave out those of test sets, and set some aside for validation.

    Every process of a training comes to the same; the first one says what, and writes which rows are in a test set.

    Args:
        config: The training's configuration.
        folder: Its folder.

    Raises:
        UserError: Rows or labels are not right, rows are in a test set, or there are none for training or validation.
    """
    found = load_examples(
        config.data,
        sources=config.sampling.sources,
        limit=config.limit,
        use_confidence=config.loss.use_confidence,
    )
    if is_rank_zero():
        log.info("Rows with labels: %s.", found.describe())
    # Mistakes in names are told before audio is read.
    named_kinds(config.train.contamination)
    check_names(found.examples, config.splits)
    digests = audio_digests(
        Path(config.data.root), Path(config.data.manifest), (example.row for example in found.examples)
    )
    checked = check_contamination(found, digests, config, folder)
    split = split_examples(checked.examples, config.splits, digests)
    if is_rank_zero():
        log.info("Split: %s.", split.describe())
    return TrainingData(split, found, checked)
