"""`task=cache`: what is kept from run to run, and how to get rid of it."""

from pathlib import Path

from rich.console import Console
from rich.table import Table

from cmi_bench.errors import UserError
from cmi_bench.models.registry import DIGESTS
from cmi_bench.scoring.embedding_cache import GIGABYTE, EmbeddingCache
from cmi_bench.scoring.store import ScoreStore
from cmi_bench.task_config import CacheTask


def run_cache(config: CacheTask, folder: Path) -> None:
    """Show the cache; with `prune_gb` set, first remove what was not used for longest, down to that size.

    Raises:
        UserError: There is no cache to show.
    """
    if config.cache.dir is None:
        raise UserError("cache=off keeps nothing.", "Leave out cache=off, or name the folder: cache.dir=...")
    place = Path(config.cache.dir)
    cache = EmbeddingCache(place / "embeddings")
    console = Console()
    if config.prune_gb is not None:
        removed = cache.prune(config.prune_gb)
        console.print(f"Removed {removed.entries} embeddings ({removed.bytes / GIGABYTE:.2f} GB).", highlight=False)
    console.print(_table(place, cache))


def _table(place: Path, cache: EmbeddingCache) -> Table:
    stores = [ScoreStore(folder) for folder in sorted((place / "scores").glob("*"))]
    table = Table("what", "entries", "size", title=f"Cache in {place}", title_justify="left")
    for what, compact in (("embeddings, for scoring", False), ("embeddings, pooled for training", True)):
        size = cache.size(compact=compact)
        table.add_row(what, str(size.entries), f"{size.bytes / GIGABYTE:.2f} GB")
    digests = len(list((place / DIGESTS).glob("*")))
    table.add_row("digests of weights", str(digests), f"{_bytes(place / DIGESTS) / 1e6:.2f} MB")
    for store in stores:
        count = len(store.read())
        table.add_row(f"scores of model {store.folder.name[:12]}", str(count), f"{_bytes(store.folder) / 1e6:.2f} MB")
    return table


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("*"))
