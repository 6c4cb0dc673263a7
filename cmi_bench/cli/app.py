"""The commands; what they do is in modules of their own, which are imported when needed."""

import logging
from pathlib import Path
from typing import Annotated

import typer

import cmi_bench
from cmi_bench.cli import options as opt
from cmi_bench.cli.benchmark import add_benchmark_commands
from cmi_bench.cli.options import RANKING, with_option_groups
from cmi_bench.reporting.viewer.audio import AudioMode
from cmi_bench.types import Aspect
from cmi_bench.utils.command import explain_errors, prepare_process

EXIT_CODES = (
    "Exit code: 0 all songs were scored; 1 a mistake, or no song could be scored; 2 wrong options;"
    " 3 some songs could not be scored, the others were; 130 stopped."
)

SERVER = "Server"
LIMITS = "Limits"

app = typer.Typer(
    name="cmi-bench",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"cmi-bench {cmi_bench.__version__}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Say which.")] = False,
) -> None:
    """Score and rank songs with a music reward model, and measure how well such models agree with people."""
    from cmi_bench.utils.console import ConsoleLog

    prepare_process()
    # Stdout is for results; what models and libraries have to say goes to stderr.
    logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=[ConsoleLog()])
    logging.getLogger("cmi_bench").setLevel(logging.INFO)


@app.command(epilog=EXIT_CODES)
@with_option_groups
def score(*, songs: opt.Songs, catalogue: opt.Catalogue, model: opt.Model, form: opt.PrintedForm) -> int:
    """Score songs: musicality, and alignment with what they were made from.

    A song that cannot be scored is shown as failed, with the reason; the others are scored. n/a: the model does not
    judge this.

    `cmi-bench score a.mp3 b.mp3 --text "slow piano, C# minor, 50% rain" --lyrics-file words.txt`

    `cmi-bench score --requests catalogue.parquet --out scores/`
    """
    if catalogue is not None:
        from cmi_bench.cli.catalogue import score_catalogue

        return score_catalogue(songs.requests, catalogue, model, form)
    from cmi_bench.cli.score import score as run

    return run(songs.read(), model, form)


@app.command(epilog=EXIT_CODES)
@with_option_groups
def rank(
    *,
    songs: opt.Songs,
    rule: opt.Rule,
    top_k: Annotated[
        int | None, typer.Option(min=1, help="Only the best so many.", show_default="all", rich_help_panel=RANKING)
    ] = None,
    copy_to: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Copy the songs shown there, as 01_name, 02_name, ...; copies of these songs that an earlier ranking"
            " left there go. Nothing else is removed or overwritten.",
            rich_help_panel=RANKING,
        ),
    ] = None,
    model: opt.Model,
    form: opt.PrintedForm,
) -> int:
    """Score songs and show the best first (best of N).

    Songs with equal scores share a rank and stay in the order given; songs that cannot be scored come last, without
    one. Of a file of requests, the songs with the same text, lyrics and reference are ranked among each other.

    `cmi-bench rank takes/ --text "slow piano" --top-k 3 --copy-to best/`
    """
    from cmi_bench.cli.rank import rank as run

    return run(songs.read(), model, form, rule=rule, top_k=top_k, copy_to=copy_to)


@app.command(epilog=EXIT_CODES)
@with_option_groups
def mirex(
    *,
    requests: Annotated[Path, typer.Argument(metavar="REQUESTS", help="JSON lines, a JSON list, or CSV.")],
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Where predictions go.", show_default="stdout")
    ] = None,
    root: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="What audio paths are relative to.", show_default="REQUESTS' folder"),
    ] = None,
    with_scores: Annotated[bool, typer.Option("--with-scores", help="Add score_A and score_B.")] = False,
    rule: opt.Rule,
    model: opt.Model,
) -> int:
    """Predict preferences for MIREX 2026 (Music Evaluation via CMI-RewardBench).

    From {sample_id, prompt, audio_A, audio_B} to {sample_id, preferred_candidate}, one JSON object a line, in the
    same order. preferred_candidate is "A" or "B": the song with the higher score; of equal scores "B", as in the
    benchmark's own files; null where a song could not be scored. Ties and failures are told on stderr.
    """
    from cmi_bench.cli.mirex import mirex as run

    return run(requests, model, root=root, out=out, rule=rule, with_scores=with_scores)


@app.command(epilog="Exit code: 0 the page was written; 1 a mistake; 2 wrong options.")
def view(
    *,
    runs: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN...", help="A run's folder, results.jsonl, a sweep's folder, a pattern, or an MLflow run id."
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Where the page goes.", show_default="view.html beside the run, of several here"
        ),
    ] = None,
    open_it: Annotated[bool, typer.Option("--open", help="Open it in the browser.")] = False,
    audio: Annotated[
        AudioMode,
        typer.Option(help="link to the files where they are; embed them, for a page to send; none."),
    ] = AudioMode.LINK,
    rows: Annotated[
        int,
        typer.Option(min=1, max=500_000, help="At most so many rows; of more, failed, wrong and disputed ones first."),
    ] = 20_000,
    seed: Annotated[int, typer.Option(min=0, help="Which rows are drawn where there are more.")] = 0,
    setting: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Settings in the words of cmi-bench run: --set metrics.protocol=paper, --set data.root=FOLDER."
            " Repeatable.",
        ),
    ] = None,
) -> None:
    """Make a page of all rows of one or more runs: filter, sort, play A, B and reference, see where runs disagree.

    The page needs no network and no server.

    `cmi-bench view outputs/cmi_rm/A outputs/signal/B --open`
    """
    from cmi_bench.cli.view import view as run
    from cmi_bench.reporting.viewer.page import Bound

    with explain_errors("No page was written."):
        run(runs, out, audio=audio, bound=Bound(rows, seed), settings=setting or (), show=open_it)


@app.command(epilog="Exit code: 0 the pages were there; 1 a mistake; 2 wrong options.")
@with_option_groups
def ui(
    *,
    store: Annotated[
        str | None,
        typer.Option(
            metavar="URI", help="sqlite:////folder/mlflow.db or http://host:5000.", show_default="as in conf/"
        ),
    ] = None,
    experiment: Annotated[
        str | None, typer.Option(metavar="NAME", help="MLflow's experiment.", show_default="as in conf/")
    ] = None,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Where a SQLite store is served.")] = 5000,
    open_it: Annotated[bool, typer.Option("--open/--no-open", help="Open the page in the browser.")] = True,
) -> int:
    """Open the MLflow pages of the recorded runs: the models with their metrics by test set, and the runs.

    A SQLite store is served until Ctrl-C; a server shows its pages itself.

    `cmi-bench ui --port 5001`
    """
    from cmi_bench.cli.ui import ui as run

    return run(store, experiment, port=port, show=open_it)


@app.command(epilog="Exit code: 0 it was told to end; 1 a mistake; 2 wrong options; 143 it was told so twice.")
@with_option_groups
def serve(
    *,
    models: opt.ServedModels,
    host: Annotated[
        str, typer.Option(help="Where to listen; other than loopback needs CMI_BENCH_TOKEN.", rich_help_panel=SERVER)
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any that is free.", rich_help_panel=SERVER)] = 8000,
    audio_root: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Requests may name audio by its path below this folder.",
            show_default="they send it",
            rich_help_panel=SERVER,
        ),
    ] = None,
    max_mb: Annotated[
        float, typer.Option(min=0.001, max=4000, help="10^6 bytes of a request.", rich_help_panel=LIMITS)
    ] = 256,
    max_seconds: Annotated[
        float, typer.Option(min=0.001, help="Seconds of an audio file.", rich_help_panel=LIMITS)
    ] = 3600,
    max_songs: Annotated[int, typer.Option(min=1, help="Songs of a request.", rich_help_panel=LIMITS)] = 128,
    queue: Annotated[
        int, typer.Option(min=1, help="Songs on their way; more are told to come again.", rich_help_panel=LIMITS)
    ] = 512,
    queue_seconds: Annotated[
        float, typer.Option(min=1, help="Seconds of audio on their way.", rich_help_panel=LIMITS)
    ] = 36_000,
    max_wait: Annotated[
        float,
        typer.Option(min=0, help="Milliseconds that a batch waits for more songs.", rich_help_panel=LIMITS),
    ] = 5,
    body_timeout: Annotated[
        float, typer.Option(min=0.1, help="Seconds that a request's body may take.", rich_help_panel=LIMITS)
    ] = 60,
) -> int:
    """Serve models over HTTP: songs in, scores out, each with what settles it.

    Scores are those of cmi-bench score on the same bytes, and are looked up and kept in the same place. Ctrl-C or
    SIGTERM ends it when all that was taken is answered; a second one at once.

    `cmi-bench serve --model signal --port 8000`

    `curl -F audio=@song.mp3 -F text="slow piano" http://127.0.0.1:8000/v1/score`
    """
    from cmi_bench.cli.serve import ServeOptions
    from cmi_bench.cli.serve import serve as run

    options = ServeOptions(
        host, port, audio_root, max_mb, max_seconds, max_songs, queue, queue_seconds, max_wait, body_timeout
    )
    return run(models, options)


@app.command("import", epilog="Exit code: 0 it can be scored; 1 a mistake, or lines or audio that cannot be used.")
@with_option_groups
def import_(
    *,
    table: Annotated[Path, typer.Argument(metavar="TABLE", help="CSV, TSV, JSON lines, a JSON list, or Parquet.")],
    name: Annotated[
        str | None, typer.Option(help="In tables, report and MLflow.", show_default="the file's name")
    ] = None,
    root: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="What the songs' paths are relative to.", show_default="TABLE's folder"),
    ] = None,
    column: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ROLE=COLUMN",
            help="Where a column's name does not tell: --column song=wav --column rating=Urteil. Repeatable.",
        ),
    ] = None,
    group_by: Annotated[
        list[str] | None, typer.Option(metavar="COLUMN", help="Groups in tables and report. Repeatable.")
    ] = None,
    aspect: Annotated[Aspect | None, typer.Option(help="What the labels are about.", show_default="musicality")] = None,
    scale: Annotated[
        tuple[float, float] | None,
        typer.Option(metavar="LOW HIGH", help="Refuse ratings outside of it.", show_default="any number"),
    ] = None,
    allow_outside: Annotated[
        bool, typer.Option("--allow-outside", help="Songs may lie outside of the root: you trust the table.")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Write the declaration FOLDER/data/NAME.yaml, for --config-dir FOLDER."),
    ] = None,
) -> int:
    """Show what is understood of your own songs with ratings, or pairs with a winner, before anything runs.

    Nothing is scored. It ends with the command that does.

    `cmi-bench import ratings.csv --group-by genre`
    """
    from cmi_bench.cli.import_table import ImportOptions, import_table

    options = ImportOptions(name, root, column or (), group_by or (), aspect, scale, allow_outside, out)
    return import_table(table, options)


add_benchmark_commands(app)
