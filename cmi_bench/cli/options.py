"""The options that commands share: groups, each declared once, and what is made of a group's options.

A command takes a group as one parameter (`songs: Songs`), and has all of the group's options on its command line:
`with_option_groups` puts them there, and calls the command with what the group made of them.
"""

import functools
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, get_args

import typer

from cmi_bench.api.ranking import By, Criterion
from cmi_bench.cli.catalogue import CatalogueOptions, EngineName
from cmi_bench.errors import UserError
from cmi_bench.utils.command import explain_errors

if TYPE_CHECKING:
    from cmi_bench.cli.inputs import Instruction, RequestedSong

MODEL = "Model"
INSTRUCTION = "What the songs were made from"
OUTPUT = "Output"
CATALOGUE = "Catalogues: any number of songs"
RANKING = "Ranking"
KEPT = "The scores made so far are kept, unless --no-cache was given; the same command goes on from there."


@dataclass(frozen=True)
class OptionGroup:
    """Options that belong together: the parameters of a function that makes one thing of them."""

    make: Callable[..., Any]


_BENCHMARK = "It is a setting of the benchmark: cmi-bench run takes it."
OF_THE_BENCHMARK = {
    "device": "Give it as --device.",
    "on_error": "A song that cannot be scored is shown as failed; the others are scored.",
    **dict.fromkeys(
        (
            *("task", "data", "subset", "metrics", "trainer", "hydra", "limit", "intersect", "alpha"),
            *("tracking", "tracking_uri", "experiment", "sweep", "launch"),
        ),
        _BENCHMARK,
    ),
}
"""Keys of the configuration that say nothing here, and what to say of them."""


class Form(StrEnum):
    """How results are printed."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"


@dataclass(frozen=True)
class ModelOptions:
    """Which model, where, and how; None is the benchmark's own default."""

    model: str | None = None
    checkpoint: str | None = None
    device: str = "auto"
    max_dur: float | None = None
    precision: str | None = None
    cache_dir: str | None = None
    no_cache: bool = False
    settings: Sequence[str] = ()
    """In Hydra's words, as on `run.py`'s command line."""

    def __post_init__(self) -> None:
        if self.no_cache and self.cache_dir is not None:
            raise UserError("Both --no-cache and --cache-dir are given.", "Give one of them.")
        for word in self.settings:
            key = word.lstrip("+~").partition("=")[0].partition(".")[0]
            if key in OF_THE_BENCHMARK:
                raise UserError(f"--set {word} has no effect on songs.", OF_THE_BENCHMARK[key])


class SongChoice(NamedTuple):
    """The songs of a command: named, or in a file of requests."""

    named: Sequence[Path]
    instruction: "Instruction"
    """Of the named ones."""
    requests: str | None
    """A table's path; for a catalogue a folder or an fsspec address as well."""

    def read(self) -> "list[RequestedSong]":
        """Return them.

        Raises:
            UserError: See `requested_songs` and `named_songs`.
        """
        from cmi_bench.cli.inputs import named_songs, requested_songs
        from cmi_bench.utils.addresses import place_of

        if self.requests is None:
            return named_songs(self.named, self.instruction)
        place = place_of(self.requests)
        if isinstance(place, str) or place.is_dir():
            raise UserError(
                f"{self.requests} is no local file.",
                "A folder or an address is scored with --out: its scores are files.",
            )
        return requested_songs(place)


def _songs(
    songs: Annotated[
        list[Path] | None,
        typer.Argument(metavar="SONGS...", help="Audio files, and folders whose audio files are all taken."),
    ] = None,
    requests: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Instead of SONGS: JSON lines, CSV or Parquet with the columns audio, text, lyrics, ref_audio, of"
            " which only audio is needed. Paths are relative to the file; other columns are carried through.",
        ),
    ] = None,
    text: Annotated[
        str | None, typer.Option(help="The prompt, as it is: nothing is escaped.", rich_help_panel=INSTRUCTION)
    ] = None,
    text_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The prompt from a file; - is stdin.", rich_help_panel=INSTRUCTION),
    ] = None,
    lyrics: Annotated[str | None, typer.Option(help="The lyrics.", rich_help_panel=INSTRUCTION)] = None,
    lyrics_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The lyrics from a file; - is stdin.", rich_help_panel=INSTRUCTION),
    ] = None,
    ref: Annotated[
        Path | None, typer.Option(metavar="AUDIO", help="The reference audio.", rich_help_panel=INSTRUCTION)
    ] = None,
) -> SongChoice:
    from cmi_bench.cli.inputs import STDIN, Instruction, read_text

    if text_file == STDIN and lyrics_file == STDIN:
        raise UserError("Both --text-file and --lyrics-file are stdin.", "Give one of them as a file.")
    instruction = Instruction(read_text(text, text_file, "--text"), read_text(lyrics, lyrics_file, "--lyrics"), ref)
    if bool(songs) == (requests is not None):
        raise UserError("Give songs, or a file of --requests, one of them.", "cmi-bench score --help shows examples.")
    if requests is not None and instruction != Instruction():
        raise UserError(
            "--text, --lyrics and --ref go with songs; a file of --requests has its own.", "Put them into its columns."
        )
    return SongChoice(songs or (), instruction, requests)


Checkpoint = Annotated[
    str | None,
    typer.Option(help="A file, a folder or a hub id.", show_default="the model's published one", rich_help_panel=MODEL),
]
MaxDur = Annotated[
    float | None,
    typer.Option(
        metavar="SECONDS",
        help="How much of each song is used, from its start.",
        show_default="the benchmark's, 120",
        rich_help_panel=MODEL,
    ),
]
Precision = Annotated[
    str | None, typer.Option(help="32, bf16, or on a GPU tf32.", show_default="32", rich_help_panel=MODEL)
]
CacheDir = Annotated[
    str | None,
    typer.Option(
        metavar="FOLDER",
        help="Where embeddings and scores are kept: a folder, or an address such as s3://bucket/cache.",
        show_default="the benchmark's, or ~/.cache/cmi-bench where there is no checkout",
        rich_help_panel=MODEL,
    ),
]
NoCache = Annotated[bool, typer.Option("--no-cache", help="Keep nothing, use nothing kept.", rich_help_panel=MODEL)]
ModelSettings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Other settings of the model and of scoring, in the words of cmi-bench run: --set model.mode=standard,"
        " --set batch_size=4. Repeatable.",
        rich_help_panel=MODEL,
    ),
]


def _model(
    model: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="As in cmi-bench run model=NAME.", show_default="cmi_rm", rich_help_panel=MODEL
        ),
    ] = None,
    checkpoint: Checkpoint = None,
    device: Annotated[
        str, typer.Option(help="auto, cpu, cuda, cuda:1, ...", rich_help_panel=MODEL)
    ] = ModelOptions.device,
    max_dur: MaxDur = None,
    precision: Precision = None,
    cache_dir: CacheDir = None,
    no_cache: NoCache = False,
    setting: ModelSettings = None,
) -> ModelOptions:
    return ModelOptions(model, checkpoint, device, max_dur, precision, cache_dir, no_cache, setting or ())


def _served(
    model: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[ALIAS=]NAME[:CHECKPOINT]",
            help="As in cmi-bench run model=NAME. Repeatable: each is asked for by its alias, or by its name.",
            show_default="cmi_rm",
            rich_help_panel=MODEL,
        ),
    ] = None,
    checkpoint: Checkpoint = None,
    device: Annotated[
        str,
        typer.Option(
            metavar="DEVICE[,DEVICE]",
            help="auto, cpu, cuda, or several such as cuda:0,cuda:1: each has all models.",
            rich_help_panel=MODEL,
        ),
    ] = ModelOptions.device,
    max_dur: MaxDur = None,
    precision: Precision = None,
    cache_dir: CacheDir = None,
    no_cache: NoCache = False,
    setting: ModelSettings = None,
) -> dict[str, ModelOptions]:
    from cmi_bench.cli.serve import served_models

    named = served_models(model or [], checkpoint)
    return {
        alias: ModelOptions(name, found, device, max_dur, precision, cache_dir, no_cache, setting or ())
        for alias, (name, found) in named.items()
    }


def _catalogue(
    out: Annotated[
        str | None,
        typer.Option(
            metavar="FOLDER",
            help="Write the scores of --requests into this folder, or fsspec address, as Parquet files: for any number"
            " of songs. --requests may then be a folder of songs, or an address such as s3://bucket/songs.parquet,"
            " as well. The same command again goes on from the files that are there.",
            rich_help_panel=CATALOGUE,
        ),
    ] = None,
    retry_failed: Annotated[
        bool,
        typer.Option("--retry-failed", help="Try songs again that could not be scored.", rich_help_panel=CATALOGUE),
    ] = False,
    shard: Annotated[
        str | None,
        typer.Option(
            metavar="K/N",
            help="Only every N-th file, from the K-th: N such commands, anywhere, make one catalogue.",
            show_default="all files",
            rich_help_panel=CATALOGUE,
        ),
    ] = None,
    part_size: Annotated[
        int | None,
        typer.Option(
            min=1, max=1_000_000, metavar="SONGS", help="Of each file.", show_default="4096", rich_help_panel=CATALOGUE
        ),
    ] = None,
    engine: Annotated[
        EngineName,
        typer.Option(help="local: this process. ray: the machines of a Ray cluster.", rich_help_panel=CATALOGUE),
    ] = EngineName.LOCAL,
    address: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            help="Of the Ray cluster; auto: the one this machine belongs to; local: this machine alone.",
            show_default="auto",
            rich_help_panel=CATALOGUE,
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=100_000,
            help="How many processes of the Ray cluster hold the model.",
            show_default="one for each GPU, else for each machine",
            rich_help_panel=CATALOGUE,
        ),
    ] = None,
) -> CatalogueOptions | None:
    if out is not None:
        return CatalogueOptions(out, retry_failed, shard, part_size, engine, address, workers)
    for option, given in (
        ("--retry-failed", retry_failed),
        ("--shard", shard),
        ("--part-size", part_size),
        ("--engine", engine is not EngineName.LOCAL),
        ("--address", address),
        ("--workers", workers),
    ):
        if given:
            raise UserError(f"{option} has no effect without --out.", "Say where the scores go: --out scores/.")
    return None


def _form(
    json: Annotated[bool, typer.Option("--json", help="Print JSON lines.", rich_help_panel=OUTPUT)] = False,
    csv: Annotated[bool, typer.Option("--csv", help="Print CSV.", rich_help_panel=OUTPUT)] = False,
) -> Form:
    if json and csv:
        raise UserError("Both --json and --csv are given.", "Give one of them.")
    return Form.JSON if json else Form.CSV if csv else Form.TABLE


def _criterion(
    by: Annotated[By, typer.Option("--by", help="What decides.", rich_help_panel=RANKING)] = By.MUSICALITY,
    weight: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            max=1.0,
            help="With --by mean: musicality's share; alignment has the rest. The scores are taken as they are.",
            show_default="0.5",
            rich_help_panel=RANKING,
        ),
    ] = None,
) -> Criterion:
    if weight is None:
        return Criterion(by)
    if by is not By.MEAN:
        raise UserError(f"--weight says nothing with --by {by}.", "Use --by mean.")
    return Criterion(by, weight)


Songs = Annotated[SongChoice, OptionGroup(_songs)]
Catalogue = Annotated[CatalogueOptions | None, OptionGroup(_catalogue)]
Model = Annotated[ModelOptions, OptionGroup(_model)]
ServedModels = Annotated[dict[str, ModelOptions], OptionGroup(_served)]
PrintedForm = Annotated[Form, OptionGroup(_form)]
Rule = Annotated[Criterion, OptionGroup(_criterion)]


def with_option_groups(command: Callable[..., int]) -> Callable[..., None]:
    """Return a command whose parameters that are groups are their options; a mistake in them gets one message.

    Args:
        command: Takes keyword arguments, and returns its exit code.
    """
    own = inspect.signature(command).parameters
    groups = {name: _group(parameter) for name, parameter in own.items()}
    options = {
        name: [parameter] if group is None else list(inspect.signature(group.make).parameters.values())
        for (name, parameter), group in zip(own.items(), groups.values(), strict=True)
    }

    @functools.wraps(command)
    def run(**values: Any) -> None:
        with explain_errors(KEPT):
            given = {}
            for name, group in groups.items():
                part = {option.name: values[option.name] for option in options[name]}
                given[name] = part[name] if group is None else group.make(**part)
            raise typer.Exit(command(**given))

    shown = [option.replace(kind=inspect.Parameter.KEYWORD_ONLY) for part in options.values() for option in part]
    run.__signature__ = inspect.Signature(shown)  # type: ignore[attr-defined]
    run.__annotations__ = {option.name: option.annotation for option in shown}
    del run.__wrapped__
    return run


def _group(parameter: inspect.Parameter) -> OptionGroup | None:
    return next((one for one in get_args(parameter.annotation) if isinstance(one, OptionGroup)), None)
