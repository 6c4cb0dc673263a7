"""`task=embed`: fill the embedding cache for the rows of a split, so that training and later runs encode nothing."""

import time
from pathlib import Path

from cmi_bench.data.chosen import ALL_OWN
from cmi_bench.data.rows import Row
from cmi_bench.data.synthetic.build import ensure_minis
from cmi_bench.tasks.benchmark import check_audio, load_run_rows
from cmi_bench.training.examples import load_examples
from cmi_bench.training.rows import TRAIN
from cmi_bench.training_config import EmbedTask
from cmi_bench.utils.command import loading


def run_embed(config: EmbedTask, folder: Path) -> None:
    """Embed the audio and the texts of the rows that `data` and `subset` choose; metadata and failures go to `folder`.

    Raises:
        UserError: Rows, audio, model or device are not right, or the model makes no embeddings; nothing that was
            embedded is lost.
    """
    started = time.monotonic()
    rows = load_rows_to_embed(config)
    with loading("torch and Lightning"):
        from cmi_bench.tasks.embedding import embed_rows

    embed_rows(rows, config, folder, started=started)


def load_rows_to_embed(config: EmbedTask) -> list[Row]:
    """Load the rows of `data.split`: of "train" those with labels that training takes.

    Raises:
        UserError: The rows or their labels are not right, or audio is missing and `on_error=fail`.
    """
    if config.data.split != TRAIN:
        return list(load_run_rows(config).rows.rows)
    if config.data.synthesise:
        ensure_minis(Path(config.data.root), Path(config.data.train_root))
    # subset=all is no choice: training rows may have sources that the benchmark does not know.
    sources = () if ALL_OWN in config.subset.datasets else config.subset.datasets
    rows = [one.row for one in load_examples(config.data, sources=sources, limit=config.limit).examples]
    check_audio(rows, Path(config.data.root), config)
    return rows
