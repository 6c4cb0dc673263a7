"""`cmi-bench view`: one page over all rows of one or more runs that needs only itself and the audio beside it."""

import hashlib
import json
from base64 import b64encode
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from markupsafe import Markup

from cmi_bench.config import MetricSettings
from cmi_bench.errors import UserError
from cmi_bench.evaluation.pairing import Run, select_runs
from cmi_bench.evaluation.samples import Selection, rows_text
from cmi_bench.reporting.html.format import count, own_files, template_environment
from cmi_bench.reporting.viewer.audio import AudioMode, PageAudio
from cmi_bench.reporting.viewer.document import page_document
from cmi_bench.reporting.viewer.lines import DatasetLines, choose_rows, view_lines
from cmi_bench.utils.console import some_of
from cmi_bench.utils.files import open_regular, write_text_atomic, writing_to

PAGE_FILE = "view.html"
GENERATOR = "cmi-bench view"
"""By this name a page knows another that it may replace."""
SCRIPTS = ("data.js", "filters.js", "table.js", "detail.js", "view.js")
MEDIA = {AudioMode.LINK: "'self' file:", AudioMode.EMBED: "data:", AudioMode.NONE: "'none'"}
"""Where the page may load audio from; it loads nothing else."""


class Bound(NamedTuple):
    """How many rows a page has at most."""

    rows: int
    seed: int = 0
    """Of the rows that are drawn where there are more; see `lines.choose_rows`."""


class WrittenPage(NamedTuple):
    """What was written."""

    file: Path
    n_rows: int
    notes: list[str]
    """What was left out, and audio that is not there."""


def write_view(
    runs: Sequence[Run],
    settings: MetricSettings,
    file: Path,
    *,
    audio: PageAudio,
    bound: Bound,
    notes: Sequence[str] = (),
) -> WrittenPage:
    """Write the page. The same runs give the same bytes.

    Args:
        runs: One or more.
        settings: The protocol by which rows are read, their split, and which groups are made.
        file: Where to; a page that was made before is replaced.
        audio: Where the page's audio is; empty.
        bound: How many rows.
        notes: What has to be known of the runs.

    Raises:
        UserError: `file` is there and is no such page, there is no row to show, a label is not understood, or the
            audio is too much for a page, or the page cannot be written.
    """
    check_replaceable(file)
    selections = select_runs(runs, settings.split)
    datasets = view_lines(runs, settings, selections)
    if not datasets:
        raise UserError(
            f"No row of split {settings.split!r} belongs to a known dataset.", "Set metrics.split, or check the rows."
        )
    total = sum(len(one.rows.rows) for one in datasets)
    chosen = choose_rows(datasets, bound.rows, bound.seed)
    n_rows = sum(one.size for one in chosen)
    document = page_document(datasets, chosen, runs, audio)
    told = [
        *_left_out(total, n_rows, bound),
        *_passed_over(selections),
        *_different_rows(runs, datasets),
        *notes,
        *_missing_audio(audio),
    ]
    text = page_text(runs, document, audio, told, n_rows=n_rows, protocol=str(settings.protocol))
    with writing_to(file.parent, instead="give another --out FILE"):
        write_text_atomic(file, text)
    return WrittenPage(file, n_rows, told)


def check_replaceable(file: Path) -> None:
    """Make sure that a file is missing or a page of this kind, so that nobody's results are overwritten.

    Raises:
        UserError: It is something else.
    """
    if not file.exists():
        return
    try:
        with open_regular(file) as opened:
            start = opened.read(1000)
    except OSError as error:
        raise UserError(f"{file} cannot be replaced: {error.strerror}.", "Give another --out FILE.") from error
    if f'content="{GENERATOR}"'.encode() not in start:
        raise UserError(f"{file} is there, and no page of `cmi-bench view`.", "Give another --out FILE.")


def _left_out(total: int, n_rows: int, bound: Bound) -> list[str]:
    if total == n_rows:
        return []
    return [
        f"{rows_text(total - n_rows)} of {total:,} left out: the page has {n_rows:,} (--rows). Each dataset keeps its"
        " share; rows on which a run failed, is wrong or differs from another come first, then clips by how far they"
        f" are from people's ranks, and chance decides among equals (seed {bound.seed}). Counts are of the rows shown."
    ]


def _passed_over(selections: Mapping[str, Selection]) -> list[str]:
    """Say which rows are of another split or of no known dataset, and in which runs if not in all."""
    labels_of: dict[str, list[str]] = {}
    for label, selection in selections.items():
        for note in selection.notes:
            labels_of.setdefault(note, []).append(label)
    return [
        note if len(labels) == len(selections) else f"{', '.join(labels)}: {note}" for note, labels in labels_of.items()
    ]


def _different_rows(runs: Sequence[Run], datasets: Sequence[DatasetLines]) -> list[str]:
    """Say which runs lack rows that others have."""
    lacking = sum((one.rows.places < 0).sum(axis=0) for one in datasets)
    named = [f"{run.label} lacks {rows_text(int(n))}" for run, n in zip(runs, np.atleast_1d(lacking), strict=True) if n]
    return [f"The runs are over different rows: {'; '.join(named)}."] if named else []


def _missing_audio(audio: PageAudio) -> list[str]:
    if not (missing := audio.missing):
        return []
    clips = f"{count(len(missing), 'audio file')} of {len(audio.entries):,}"
    return [f"{clips} cannot be played: {some_of(missing)}. --set data.root=FOLDER says where they are."]


def page_text(
    runs: Sequence[Run],
    document: Mapping[str, Any],
    audio: PageAudio,
    notes: Sequence[str],
    *,
    n_rows: int,
    protocol: str,
) -> str:
    """Return the page's text.

    Args:
        runs: Their labels are the title.
        document: From `document.page_document`.
        audio: The files within the page.
        notes: Sentences over the rows.
        n_rows: How many rows the document has.
        protocol: The protocol's name.
    """
    style = own_files("cmi_bench.reporting.html", "style.css") + "\n" + own_files(__package__, "view.css")
    script = Markup('(() => {\n"use strict";\n%s\n})();\n') % own_files(__package__, *SCRIPTS)
    script = own_files("cmi_bench.reporting.html", "theme.js") + script
    return (
        template_environment(__name__)
        .get_template("view.html.j2")
        .render(
            title=some_of([run.label for run in runs]),
            subtitle=f"{count(n_rows, 'row')} of {count(len(runs), 'run')}",
            notes_title=count(len(notes), "note"),
            notes=notes,
            generator=GENERATOR,
            policy=content_policy(style, script, audio.mode),
            style=style,
            script=script,
            data=Markup(script_json(document)),
            embedded=audio.embedded,
            protocol=protocol,
        )
    )


def content_policy(style: str, script: str, mode: AudioMode) -> str:
    """Return a policy by which the page runs this script only, and loads nothing but its audio."""
    return (
        f"default-src 'none'; script-src '{_digest(script)}'; style-src '{_digest(style)}'; media-src {MEDIA[mode]};"
        " img-src data:; base-uri 'none'; form-action 'none'"
    )


def _digest(text: str) -> str:
    return f"sha256-{b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


_ESCAPES = str.maketrans({char: f"\\u{ord(char):04x}" for char in "<>&"})


def script_json(document: object) -> str:
    """Return JSON that nothing in it can end the script element of, or begin another.

    >>> script_json({"prompt": "</script>"})
    '{"prompt":"\\\\u003c/script\\\\u003e"}'
    """
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"), allow_nan=False).translate(_ESCAPES)
