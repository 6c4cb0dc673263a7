"""Which rows a run is over: those of the rows' file and those of one's own tables, as `data` and `subset` say."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cmi_bench.config import Config, DataConfig, SubsetConfig, TableConfig
from cmi_bench.data.datasets import Dataset, all_datasets, dataset_by_slug
from cmi_bench.data.declarations import declare, slug_of
from cmi_bench.data.own import OwnTable, read_own
from cmi_bench.data.rows import Row, RowSet, iter_rows, keep_rows, rows_inside, with_original_names
from cmi_bench.errors import UserError, did_you_mean

ALL_OWN = "own"
"""In `subset.datasets`: all tables of one's own."""


def table_settings(data: DataConfig) -> dict[str, TableConfig]:
    """Return the tables of one's own by the name of the dataset that each of them is."""
    return {**data.own, **({data.name: data} if data.csv else {})}


def check_subset(subset: SubsetConfig, data: DataConfig) -> None:
    """Make sure that the datasets which `subset` names can be in the data; nothing is read.

    Raises:
        UserError: One is not; names the nearest. Or a table is named where it has no place.
    """
    if data.csv and data.jsonl:
        raise UserError(
            f"data.csv={data.csv} is a table, and data={data.name} has rows already.",
            f"Use data=custom data.csv={data.csv}, or beside them '+data.own={{my_songs: {{csv: {data.csv}}}}}'",
        )
    benchmark, own = _known_slugs(data)
    for slug in subset.datasets:
        if slug not in (*benchmark, *own, ALL_OWN) and not _is_passed_over(slug, subset):
            is_group = slug == subset.name
            what = f"There is no subset={slug}." if is_group else f"There is no dataset {slug!r} (subset.datasets)."
            raise UserError(what, did_you_mean(slug, (*(["all"] if is_group else []), *benchmark, *own)))


def _known_slugs(data: DataConfig) -> tuple[list[str], list[str]]:
    """Return the datasets that the rows' file may have, and those of one's own."""
    benchmark = [dataset.slug for dataset in all_datasets() if not dataset.is_own] if data.jsonl else []
    return benchmark, [slug_of(name) for name in table_settings(data)]


def _is_passed_over(slug: str, subset: SubsetConfig) -> bool:
    """Whether a dataset is named with all one's own: `subset=all` on tables only has none of the benchmark's."""
    return ALL_OWN in subset.datasets and any(one.slug == slug for one in all_datasets())


def chosen_tables(config: Config) -> list[OwnTable]:
    """Read the tables that `subset` chooses, and make their datasets known.

    Raises:
        UserError: One cannot be read, or has no name of its own.
    """
    check_subset(config.subset, config.data)
    found: dict[str, OwnTable] = {}
    for name, settings in table_settings(config.data).items():
        slug = slug_of(name)
        if slug in found:
            raise UserError(f"{name} and {found[slug].name} are one name in subset={slug}.", "Rename one of them.")
        if slug in config.subset.datasets or ALL_OWN in config.subset.datasets:
            found[slug] = read_own(settings, name, allow_outside=config.data.allow_outside)
            declare(found[slug].declaration)
    return list(found.values())


def chosen_datasets(config: Config) -> list[Dataset]:
    """Return the datasets that `subset` chooses of the rows' file."""
    benchmark, _ = _known_slugs(config.data)
    return [dataset_by_slug(slug) for slug in config.subset.datasets if slug in benchmark]


@dataclass(frozen=True)
class ChosenRows:
    """What a run is over."""

    rows: RowSet
    """Those of the rows' file first, then table by table."""
    tables: Sequence[OwnTable]


def load_chosen(config: Config) -> ChosenRows:
    """Load the rows that `data`, `subset` and `limit` choose.

    Raises:
        UserError: Rows or labels are not right, audio lies outside of its root, or there is no row.
    """
    tables = chosen_tables(config)
    unknown: Counter[str] = Counter()
    rows = keep_rows(_chosen_rows(config, tables, unknown))
    return ChosenRows(RowSet(rows, dict(unknown)), tables)


def _chosen_rows(config: Config, tables: Iterable[OwnTable], unknown: Counter[str]) -> Iterator[Row]:
    data, root = config.data, Path(config.data.root)
    last = 0
    if data.jsonl and (datasets := chosen_datasets(config)):
        file = Path(data.jsonl)
        found = iter_rows(file, split=data.split, datasets=datasets, limit=config.limit, unknown=unknown)
        inside = found if data.allow_outside else rows_inside(found, root, file)
        for row in with_original_names(inside, root):
            last = max(last, row.index)
            yield row
    for table in tables:
        table.check()
        own = table.split_rows(data.split, data_root=root, after=last, limit=config.limit)
        if not own:
            splits = ", ".join(sorted({str(row.cells["split"]) for row in table.rows}))
            raise UserError(
                f"{table.table.file} has no row of split {data.split!r}; it has {splits}.", "Choose one: data.split=..."
            )
        last = max(row.index for row in own)
        yield from own
