"""`task=cache`: what is kept from run to run, and how to get rid of it."""

from pathlib import Path

from rich.console import Console
from rich.table import Table

from cmi_bench.errors import UserError
from cmi_bench.models.registry import DIGESTS
from cmi_bench.scoring.embedding_cache import GIGABYTE, EmbeddingCache
from cmi_bench.scoring.packs import StoreSize
from cmi_bench.scoring.store import ScoreStore
from cmi_bench.task_config import CacheTask
from cmi_bench.utils.addresses import Place, below, folders_in, on_this_machine, place_of
from cmi_bench.utils.files import without_credentials

OLD_LAYOUTS = ("embeddings/??/*.safetensors", "scores/*/*.jsonl")
"""What earlier versions kept, a file for each embedding and each process: it is not read any more."""


def run_cache(config: CacheTask, folder: Path) -> None:
    """Show the cache; with `prune_gb` set, first remove what was not used for longest, down to that size.

    Raises:
        UserError: There is no cache to show, or its address cannot be reached.
    """
    if config.cache.dir is None:
        raise UserError("cache=off keeps nothing.", "Leave out cache=off, or name the folder: cache.dir=...")
    place = place_of(config.cache.dir)
    console = Console()
    if config.prune_gb is not None:
        for line in _pruned(place, config.prune_gb):
            console.print(line, highlight=False)
    console.print(_table(place))


def _pruned(place: Place, max_gb: float) -> list[str]:
    cache = EmbeddingCache(below(place, "embeddings"))
    removed, left = cache.prune(max_gb), cache.size()
    lines = [f"Removed {removed.entries:,} embeddings ({removed.bytes / GIGABYTE:.2f} GB)."]
    if left.bytes > max_gb * GIGABYTE:
        lines.append(f"{left.bytes / GIGABYTE:.2f} GB are left, in files that other processes are writing to.")
    if old := _old_files(place):
        size = _size(old)
        lines.append(f"Removed {size.entries:,} files of earlier versions ({size.bytes / GIGABYTE:.2f} GB).")
        for path in old:
            path.unlink(missing_ok=True)
            if not any(path.parent.iterdir()):
                path.parent.rmdir()
    return lines


def _table(place: Place) -> Table:
    shown = without_credentials(str(place))
    table = Table("what", "entries", "size", title=f"Cache in {shown}", title_justify="left")
    embeddings = EmbeddingCache(below(place, "embeddings"))
    for what, compact in (("embeddings, for scoring", False), ("embeddings, pooled for training", True)):
        size = embeddings.size(compact=compact)
        table.add_row(what, f"{size.entries:,}", f"{size.bytes / GIGABYTE:.2f} GB")
    digests = _size(list((on_this_machine(place) / DIGESTS).glob("*")))
    table.add_row("digests of weights", f"{digests.entries:,}", f"{digests.bytes / 1e6:.2f} MB")
    scores = below(place, "scores")
    for model in folders_in(scores):
        size = ScoreStore(below(scores, model)).size()
        table.add_row(f"scores of model {model[:12]}", f"{size.entries:,}", f"{size.bytes / 1e6:.2f} MB")
    if old := _old_files(place):
        size = _size(old)
        what = "of earlier versions, not used (prune_gb=... removes them)"
        table.add_row(what, f"{size.entries:,}", f"{size.bytes / GIGABYTE:.2f} GB")
    return table


def _old_files(place: Place) -> list[Path]:
    return [path for pattern in OLD_LAYOUTS for path in place.glob(pattern)] if isinstance(place, Path) else []


def _size(files: list[Path]) -> StoreSize:
    return StoreSize(len(files), sum(path.stat().st_size for path in files))
