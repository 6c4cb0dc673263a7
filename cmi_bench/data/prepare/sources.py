"""Where each folder of the data root comes from."""

from collections.abc import Sequence
from pathlib import Path

import httpx2

from cmi_bench.config import SourcesConfig
from cmi_bench.data.prepare.hub import HubRepo
from cmi_bench.data.prepare.hub_files import HubFiles
from cmi_bench.data.prepare.music_eval import MusicEval
from cmi_bench.data.prepare.pam import Pam
from cmi_bench.data.prepare.work import Source


def benchmark_sources(config: SourcesConfig, root: Path, client: httpx2.Client) -> tuple[Source, ...]:
    """Return the sources of the four test sets, in the order of the tables."""
    return (
        Pam(root=root, client=client, zenodo=config.zenodo, record=config.pam),
        MusicEval(root=root, repo=HubRepo(config.music_eval, "dataset", config.hub)),
        HubFiles(
            name="Music Arena",
            slug="music_arena",
            folder="MusicArena_data",
            repo=HubRepo(config.music_arena, "dataset", config.hub),
            root=root,
        ),
        HubFiles(
            name="CMI-Pref",
            slug="cmi_pref",
            folder="cmi-pref",
            repo=HubRepo(config.cmi_pref, "dataset", config.hub),
            root=root,
        ),
    )


def training_sources(config: SourcesConfig, root: Path) -> Sequence[Source]:
    """Return the sources that only the training rows need."""
    pseudo = HubRepo(config.cmi_pref_pseudo, "dataset", config.hub)
    # Its labels are files of its own, so all of it is wanted.
    return (
        HubFiles(
            name="CMI-Pref-Pseudo",
            slug="cmi_pref_pseudo",
            folder="cmi-pref-pseudo",
            repo=pseudo,
            root=root,
            is_whole=True,
        ),
    )
