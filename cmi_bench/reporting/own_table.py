"""What was understood of a table of one's own, for people: `cmi-bench import` shows it before anything runs."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table

from cmi_bench.data import fields
from cmi_bench.data.columns import Role
from cmi_bench.data.fields import MAX_SHOWN, is_missing
from cmi_bench.data.own import OwnRow, OwnTable, kept_in
from cmi_bench.evaluation.raters import krippendorff_alpha, read_ratings
from cmi_bench.reporting.format import bare, text_cell

SHOWN = 5
"""Names listed of each kind; the count says how many there are."""


@dataclass(frozen=True)
class AudioFound:
    """The audio that a table names."""

    files: Sequence[str]
    """Each once, relative to the table's root."""
    missing: Sequence[str]
    undecodable: Mapping[str, str]
    """Why, by file."""
    silent: Sequence[str]
    seconds: float
    """Of all that can be decoded."""

    @property
    def is_whole(self) -> bool:
        """Whether a run can score every song."""
        return not self.missing and not self.undecodable


def own_table_view(table: OwnTable, audio: AudioFound) -> RenderableType:
    """Return what was understood, and below it every line that was not."""
    facts = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_header=False)
    facts.add_column(no_wrap=True)
    facts.add_column(overflow="fold")
    for name, value in _facts(table, audio):
        facts.add_row(text_cell(name, style="dim"), text_cell(value))
    count = "1 line" if len(table.problems) == 1 else f"{len(table.problems)} lines"
    problems = [f"{count} cannot be understood:"] if table.problems else []
    problems += [f"  {problem}" for problem in table.problems]
    title = f"{table.table.file}: {table.table.form}, {len(table.table.lines):,} {_plural(table.table.unit, table)}"
    return Group(text_cell(title, style="bold"), facts, *(text_cell(line, style="bold red") for line in problems))


def _plural(unit: str, table: OwnTable) -> str:
    return {"entry": "entries"}.get(unit, f"{unit}s") if len(table.table.lines) != 1 else unit


def _facts(table: OwnTable, audio: AudioFound) -> Iterable[tuple[str, str]]:
    kind = "pairs of songs with a winner" if table.columns.is_paired else "single songs with ratings"
    yield "dataset", f"{table.name}: {kind}; {', '.join(task.name for task in table.dataset.tasks)}"
    yield "columns", ", ".join(f"{role} = {_shown(column)}" for role, column in table.columns.of.items())
    if table.columns.unused:
        others = (_carried(column, table) for column in table.columns.unused)
        yield "carried along", f"{', '.join(others)} (data.group_by makes groups of them)"
    yield "rows", _rows(table)
    yield "audio", _audio(table, audio)
    for task in table.dataset.tasks:
        yield task.name, _labels(table, task.label_field)
    if table.raters or table.has_several_raters:
        yield "raters", _raters(table)
    prompts = {row.cells[fields.PROMPT].strip() for row in table.rows if row.cells[fields.PROMPT].strip()}
    without = sum(not row.cells[fields.PROMPT].strip() for row in table.rows)
    yield "prompts", f"{len(prompts):,}" + (f"; {without:,} rows without one" if without else "")
    if systems := _values(table.rows, (fields.SYSTEM_A, fields.SYSTEM_B)):
        yield "systems", _counted(systems)
    for column, own_field in table.declaration.group_by:
        yield f"groups by {column}", _counted(_values(table.rows, (own_field,)))
    if table.repeated:
        places = _some([table.table.place(number) for number in table.repeated])
        yield "duplicates", f"{len(table.repeated)} labels that the same rater gave before, counted once: {places}"


def _carried(column: str, table: OwnTable) -> str:
    kept = kept_in(column, table.columns)
    return _shown(column) if kept == column else f"{_shown(column)} (as {kept})"


def _shown(text: str) -> str:
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}..."


def _rows(table: OwnTable) -> str:
    noun = "pair" if table.columns.is_paired else "song"
    splits = Counter(str(row.cells[fields.SPLIT]) for row in table.rows)
    of_splits = f" ({_counted(splits)}; data.split chooses)" if Role.SPLIT in table.columns.of else ""
    return f"{len(table.rows):,} {noun}{'s' * (len(table.rows) != 1)}, each prompt by itself{of_splits}"


def _audio(table: OwnTable, audio: AudioFound) -> str:
    there = len(audio.files) - len(audio.missing) - len(audio.undecodable)
    parts = [
        f"{there:,} of {len(audio.files):,} files under {table.root.absolute()}, {audio.seconds / 60:,.1f} minutes"
    ]
    if audio.missing:
        parts.append(f"{len(audio.missing)} missing: {_some(audio.missing)}")
    if audio.undecodable:
        reasons = [f"{file} ({reason})" for file, reason in audio.undecodable.items()]
        parts.append(f"{len(audio.undecodable)} cannot be decoded: {_some(reasons)}")
    if audio.silent:
        parts.append(f"{len(audio.silent)} silent: {_some(audio.silent)}")
    return "; ".join(parts)


def _labels(table: OwnTable, label_field: str) -> str:
    values = [vote.value for row in table.rows for vote in row.votes.get(label_field, [])]
    bare_rows = sum(not row.votes.get(label_field) for row in table.rows)
    without = f"; {bare_rows:,} rows without a label, not evaluated" if bare_rows else ""
    if not values:
        return f"no labels{without}"
    if table.columns.is_paired:
        sides = Counter({"model_a": "A", "model_b": "B", "both": "both"}[value.value] for value in values)
        return f"{_count(values)}: {_counted(sides)}{without}"
    scale = table.declaration.scale
    stated = f" on the scale {scale[0]:g} to {scale[1]:g}" if scale else ", higher is better; any scale will do"
    return f"{_count(values)} from {min(values):g} to {max(values):g}{stated}{without}"


def _count(values: Sequence[Any]) -> str:
    return f"{len(values):,} label" + "s" * (len(values) != 1)


def _raters(table: OwnTable) -> str:
    named = _counted(table.raters) if table.raters else "not named; repeated songs are ratings by several people"
    count = f"{len(table.raters)}: " if table.raters else ""
    raws = table.raw_rows()
    alphas = []
    for task in table.dataset.tasks:
        alpha = krippendorff_alpha(read_ratings(raws, task), is_nominal=table.columns.is_paired)
        if alpha.value is not None:
            alphas.append(f"{task.name} {bare(alpha.value)}")
    return f"{count}{named}" + (f"; Krippendorff's alpha: {', '.join(alphas)}" if alphas else "")


def _values(rows: Sequence[OwnRow], own_fields: Sequence[str]) -> Counter[str]:
    found = (row.cells.get(one) for row in rows for one in own_fields)
    return Counter(_shown(str(value).strip()) for value in found if not is_missing(value))


def _counted(counts: Mapping[str, int]) -> str:
    """Return values with how often they are there, the first few by name."""
    named = [f"{name} {count:,}" for name, count in sorted(counts.items())[:SHOWN]]
    more = f" and {len(counts) - SHOWN} more" if len(counts) > SHOWN else ""
    return ", ".join(named) + more


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
