"""Which source has to give which files."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from cmi_bench.data.manifest import Manifest
from cmi_bench.data.prepare.paths import inside
from cmi_bench.data.prepare.record import read_record
from cmi_bench.data.prepare.state import wrong_files
from cmi_bench.data.prepare.work import Need, Source
from cmi_bench.errors import UserError

SHOWN = 3


def by_source(paths: Iterable[str], sources: Sequence[Source], *, root: Path, rows: Path) -> dict[str, list[str]]:
    """Distribute the files that rows name among the sources, by folder.

    Args:
        paths: Audio paths, relative to the data root.
        sources: Where files may come from.
        root: The data root.
        rows: The rows' file, for messages.

    Returns:
        Paths by the source's slug; every source has an entry.

    Raises:
        UserError: A path leads out of the data root, or belongs to no source and is not there either.
    """
    chosen: dict[str, list[str]] = {source.slug: [] for source in sources}
    slugs = {source.folder: source.slug for source in sources}
    homeless = []
    for path in paths:
        file = inside(root, path, named_in=str(rows))
        slug = slugs.get(path.partition("/")[0])
        if slug is not None:
            chosen[slug].append(path)
        elif not file.is_file():
            homeless.append(path)
    if homeless:
        more = f" and {len(homeless) - SHOWN} more" if len(homeless) > SHOWN else ""
        raise UserError(
            f"Nobody here knows where to get {', '.join(homeless[:SHOWN])}{more}, which {rows} names.",
            f"Put them under {root}; the folders that can be fetched are {', '.join(slugs)}.",
        )
    return chosen


def need_of(source: Source, wanted: Sequence[str], *, root: Path, manifest: Manifest) -> Need:
    """Return what a source is asked for, as far as the data root lacks it."""
    record = read_record(root, source.slug)
    if source.is_whole and record is not None:
        wanted = list(record.contents)
    wrong = wrong_files(root, wanted, manifest=manifest, record=record)
    return Need(wanted, wrong)


def is_needed(source: Source, need: Need, *, root: Path) -> bool:
    """Tell whether a source has to be asked at all."""
    return bool(need.wrong) or (source.is_whole and read_record(root, source.slug) is None)
