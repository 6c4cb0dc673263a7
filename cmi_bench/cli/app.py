"""The commands and their options; what they do is in modules of their own, which are imported when needed."""

import logging
from pathlib import Path
from typing import Annotated

import typer

import cmi_bench
from cmi_bench.api.ranking import By, Criterion
from cmi_bench.cli import options as opt
from cmi_bench.cli.inputs import STDIN, Instruction, RequestedSong, named_songs, read_text, requested_songs
from cmi_bench.cli.score import Form, ModelOptions
from cmi_bench.errors import UserError
from cmi_bench.main import explain_errors

KEPT = "The scores made so far are kept, unless --no-cache was given; the same command goes on from there."
EXIT_CODES = (
    "Exit code: 0 all songs were scored; 1 a mistake, or no song could be scored; 2 wrong options;"
    " 3 some songs could not be scored, the others were; 130 stopped."
)

app = typer.Typer(
    name="cmi-bench",
    no_args_is_help=True,
    add_completion=False,
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
    """Score and rank songs with a music reward model. For the benchmark itself: python run.py --help."""
    # Stdout is for results; what models and libraries have to say goes to stderr.
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logging.getLogger("cmi_bench").setLevel(logging.INFO)


@app.command(epilog=EXIT_CODES)
def score(
    songs: opt.Songs = None,
    requests: opt.Requests = None,
    text: opt.Text = None,
    text_file: opt.TextFile = None,
    lyrics: opt.Lyrics = None,
    lyrics_file: opt.LyricsFile = None,
    ref: opt.Ref = None,
    model: opt.Model = None,
    checkpoint: opt.Checkpoint = None,
    device: opt.Device = ModelOptions.device,
    max_dur: opt.MaxDur = None,
    precision: opt.Precision = None,
    cache_dir: opt.CacheDir = None,
    no_cache: opt.NoCache = False,
    setting: opt.Set = None,
    json: opt.Json = False,
    csv: opt.Csv = False,
) -> None:
    """Score songs: musicality, and alignment with what they were made from.

    A song that cannot be scored is shown as failed, with the reason; the others are scored. n/a: the model does not
    judge this.

    `cmi-bench score a.mp3 b.mp3 --text "slow piano, C# minor, 50% rain" --lyrics-file words.txt`
    """
    with explain_errors(KEPT):
        from cmi_bench.cli.score import score as run

        chosen = ModelOptions(model, checkpoint, device, max_dur, precision, cache_dir, no_cache, setting or ())
        wanted = _wanted(songs, requests, _instruction(text, text_file, lyrics, lyrics_file, ref))
        raise typer.Exit(run(wanted, chosen, _form(json, csv)))


@app.command(epilog=EXIT_CODES)
def rank(
    songs: opt.Songs = None,
    requests: opt.Requests = None,
    by: opt.RankBy = By.MUSICALITY,
    weight: opt.Weight = None,
    top_k: opt.TopK = None,
    copy_to: opt.CopyTo = None,
    text: opt.Text = None,
    text_file: opt.TextFile = None,
    lyrics: opt.Lyrics = None,
    lyrics_file: opt.LyricsFile = None,
    ref: opt.Ref = None,
    model: opt.Model = None,
    checkpoint: opt.Checkpoint = None,
    device: opt.Device = ModelOptions.device,
    max_dur: opt.MaxDur = None,
    precision: opt.Precision = None,
    cache_dir: opt.CacheDir = None,
    no_cache: opt.NoCache = False,
    setting: opt.Set = None,
    json: opt.Json = False,
    csv: opt.Csv = False,
) -> None:
    """Score songs and show the best first (best of N).

    Songs with equal scores share a rank and stay in the order given; songs that cannot be scored come last, without
    one. Of a file of requests, the songs with the same text, lyrics and reference are ranked among each other.

    `cmi-bench rank takes/ --text "slow piano" --top-k 3 --copy-to best/`
    """
    with explain_errors(KEPT):
        from cmi_bench.cli.rank import rank as run

        chosen = ModelOptions(model, checkpoint, device, max_dur, precision, cache_dir, no_cache, setting or ())
        wanted = _wanted(songs, requests, _instruction(text, text_file, lyrics, lyrics_file, ref))
        rule = _criterion(by, weight)
        raise typer.Exit(run(wanted, chosen, _form(json, csv), rule=rule, top_k=top_k, copy_to=copy_to))


@app.command(epilog=EXIT_CODES)
def mirex(
    requests: Annotated[Path, typer.Argument(metavar="REQUESTS", help="JSON lines, a JSON list, or CSV.")],
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Where predictions go.", show_default="stdout")
    ] = None,
    root: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="What audio paths are relative to.", show_default="REQUESTS' folder"),
    ] = None,
    with_scores: Annotated[bool, typer.Option("--with-scores", help="Add score_A and score_B.")] = False,
    by: opt.RankBy = By.MUSICALITY,
    weight: opt.Weight = None,
    model: opt.Model = None,
    checkpoint: opt.Checkpoint = None,
    device: opt.Device = ModelOptions.device,
    max_dur: opt.MaxDur = None,
    precision: opt.Precision = None,
    cache_dir: opt.CacheDir = None,
    no_cache: opt.NoCache = False,
    setting: opt.Set = None,
) -> None:
    """Predict preferences for MIREX 2026 (Music Evaluation via CMI-RewardBench).

    From {sample_id, prompt, audio_A, audio_B} to {sample_id, preferred_candidate}, one JSON object a line, in the
    same order. preferred_candidate is "A" or "B": the song with the higher score; of equal scores "B", as in the
    benchmark's own files; null where a song could not be scored. Ties and failures are told on stderr.
    """
    with explain_errors(KEPT):
        from cmi_bench.cli.mirex import mirex as run

        chosen = ModelOptions(model, checkpoint, device, max_dur, precision, cache_dir, no_cache, setting or ())
        rule = _criterion(by, weight)
        raise typer.Exit(run(requests, chosen, root=root, out=out, rule=rule, with_scores=with_scores))


def _instruction(
    text: str | None, text_file: Path | None, lyrics: str | None, lyrics_file: Path | None, ref: Path | None
) -> Instruction:
    if text_file == STDIN and lyrics_file == STDIN:
        raise UserError("Both --text-file and --lyrics-file are stdin.", "Give one of them as a file.")
    return Instruction(read_text(text, text_file, "--text"), read_text(lyrics, lyrics_file, "--lyrics"), ref)


def _wanted(songs: list[Path] | None, requests: Path | None, instruction: Instruction) -> list[RequestedSong]:
    if bool(songs) == (requests is not None):
        raise UserError("Give songs, or a file of --requests, one of them.", "cmi-bench score --help shows examples.")
    if requests is None:
        return named_songs(songs or [], instruction)
    if instruction != Instruction():
        raise UserError(
            "--text, --lyrics and --ref go with songs; a file of --requests has its own.", "Put them into its columns."
        )
    return requested_songs(requests)


def _form(json: bool, csv: bool) -> Form:
    if json and csv:
        raise UserError("Both --json and --csv are given.", "Give one of them.")
    return Form.JSON if json else Form.CSV if csv else Form.TABLE


def _criterion(by: By, weight: float | None) -> Criterion:
    if weight is None:
        return Criterion(by)
    if by is not By.MEAN:
        raise UserError(f"--weight says nothing with --by {by}.", "Use --by mean.")
    return Criterion(by, weight)
