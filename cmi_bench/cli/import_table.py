"""`cmi-bench import`: what is understood of a table of one's own, the command to run, and its declaration."""

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from cmi_bench.api.words import words_of
from cmi_bench.config import ColumnsConfig, TableConfig
from cmi_bench.data.declarations import check_name, declare, name_of_file
from cmi_bench.data.manifest import update_manifest
from cmi_bench.data.own import OwnTable, read_own
from cmi_bench.errors import UserError, did_you_mean
from cmi_bench.reporting.own_table import AudioFound, own_table_view
from cmi_bench.types import Aspect
from cmi_bench.utils.console import ItemCount, print_view
from cmi_bench.utils.files import content_key, is_regular, write_text_atomic
from cmi_bench.utils.installation import cache_folder, command_line

PROBLEMS = 1
"""Exit code where a run would stop."""


@dataclass(frozen=True)
class ImportOptions:
    """What a table does not say itself."""

    name: str | None = None
    root: Path | None = None
    columns: Sequence[str] = ()
    """As ROLE=COLUMN."""
    group_by: Sequence[str] = ()
    aspect: Aspect | None = None
    scale: tuple[float, float] | None = None
    allow_outside: bool = False
    out: Path | None = None
    """Folder for the declaration."""


def import_table(file: Path, options: ImportOptions) -> int:
    """Show what is understood of a table, write its declaration if asked to, and return the exit code.

    Raises:
        UserError: The file cannot be read, its columns not be understood, or its name is taken.
    """
    settings = _settings(file, options)
    name = check_name(options.name or name_of_file(file.stem))
    table = read_own(settings, name, allow_outside=options.allow_outside)
    declare(table.declaration)
    audio = look_at_audio(table)
    print_view(own_table_view(table, audio))
    if table.problems:
        print_view("Correct these lines, and import the file again.")
        return PROBLEMS
    words = _words(settings, name, options)
    if options.out is not None:
        written = write_declaration(table, settings, options)
        print_view(f"Wrote {written}.")
        words = [f"data={name}"]
    print_command(words, options.out, is_whole=audio.is_whole)
    return 0 if audio.is_whole else PROBLEMS


def _settings(file: Path, options: ImportOptions) -> TableConfig:
    columns: dict[str, str] = {}
    known = list(asdict(ColumnsConfig()))
    for word in options.columns:
        role, equals, column = word.partition("=")
        if not equals or role.lower() not in known:
            what = f"--column {word} is not ROLE=COLUMN." if not equals else f"There is no --column {role}."
            raise UserError(what, did_you_mean(role, known))
        columns[role.lower()] = column
    return TableConfig(
        csv=str(file),
        root=str(options.root) if options.root else None,
        columns=ColumnsConfig(**columns),
        group_by=list(options.group_by),
        aspect=str(options.aspect) if options.aspect else None,
        scale=list(options.scale) if options.scale else None,
    )


def look_at_audio(table: OwnTable) -> AudioFound:
    """Decode all audio that a table names, each file once; what is known from before is not decoded again."""
    root = table.root.absolute()
    files = list(dict.fromkeys(path for row in table.rows for path in row.audio))
    manifest = cache_folder() / "manifests" / f"{content_key(path=str(root))[:16]}.parquet"
    found = update_manifest(root, manifest, files, decode=True, progress=ItemCount("decoding the audio")).records
    there = {path: found[path] for path in files if path in found and is_regular(root / path)}
    return AudioFound(
        files=files,
        missing=[path for path in files if path not in there],
        undecodable={path: record.error for path, record in there.items() if record.error},
        silent=[path for path, record in there.items() if record.is_silent],
        seconds=sum(record.decoded_seconds or 0.0 for record in there.values()),
    )


def _words(settings: TableConfig, name: str, options: ImportOptions) -> list[str]:
    """Return the words of a run with the same understanding of the table."""
    given: dict[str, Any] = {
        "data.csv": settings.csv,
        "data.name": options.name,
        "data.root": settings.root,
        **{f"data.columns.{role}": column for role, column in asdict(settings.columns).items()},
        "data.group_by": settings.group_by or None,
        "data.aspect": settings.aspect,
        "data.scale": settings.scale,
        "data.allow_outside": options.allow_outside or None,
    }
    return ["data=custom", *(_word(key, value) for key, value in given.items() if value is not None)]


def _word(key: str, value: Any) -> str:
    plain = str(value)
    if isinstance(value, str) and re.fullmatch(r"[\w./\-]+", plain):
        return f"{key}={plain}"
    if isinstance(value, list) and all(re.fullmatch(r"[\w.\-]+", str(one)) for one in value):
        return shlex.quote(f"{key}=[{','.join(map(str, value))}]")
    return shlex.quote(*words_of({key: value}))


def write_declaration(table: OwnTable, settings: TableConfig, options: ImportOptions) -> Path:
    """Write `data/NAME.yaml` into a folder of configurations, for `--config-dir`.

    Raises:
        UserError: There is another file of that name.
    """
    assert options.out is not None
    file = options.out / "data" / f"{table.name}.yaml"
    root = settings.root
    content: dict[str, Any] = {
        "defaults": ["custom", "_self_"],
        "name": table.name,
        "csv": str(table.table.file.absolute()),
        "root": str(Path(root).absolute()) if root else None,
        "columns": {role: column for role, column in asdict(settings.columns).items() if column is not None} or None,
        "group_by": settings.group_by or None,
        "aspect": settings.aspect,
        "scale": settings.scale,
        "allow_outside": options.allow_outside or None,
    }
    comment = f"# {table.table.file.name}: {len(table.rows):,} {'pairs' if table.columns.is_paired else 'songs'}.\n"
    text = comment + _yaml({key: value for key, value in content.items() if value is not None})
    if file.exists() and file.read_text(encoding="utf-8") != text:
        raise UserError(f"{file} is there already, and says something else.", "Remove it, or choose another --name.")
    return write_text_atomic(file, text)


def _yaml(content: Mapping[str, Any]) -> str:
    # "${" would begin an interpolation in a configuration.
    text: str = yaml.safe_dump(dict(content), sort_keys=False, allow_unicode=True, width=1000)
    return text.replace("${", r"\${")


def print_command(words: Sequence[str], config_dir: Path | None, *, is_whole: bool) -> None:
    """Say how the table is scored."""
    folder = [f"--config-dir {shlex.quote(str(config_dir))}"] if config_dir is not None else []
    broken = [] if is_whole else ["on_error=record"]
    print_view("Score it, here with model=signal:")
    # As wide as it is: a command that is broken into lines cannot be copied.
    command = command_line(*folder, "model=signal", *words, *broken)
    print_view(f"  {command}", width=len(command) + 2)
