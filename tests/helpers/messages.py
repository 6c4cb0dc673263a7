"""What is said on the command line."""

from pathlib import Path

PROJECT = Path(__file__).parents[2]


def words(world, root):
    """Point every source to the stand-in."""
    return [
        "task=prepare",
        "tracking=none",
        f"data.root={root}",
        f"data.jsonl={root}/all_test.jsonl",
        f"sources.hub={world.address}",
        f"sources.zenodo={world.address}/zenodo",
        f"sources.rows={world.address}/raw/data",
    ]
