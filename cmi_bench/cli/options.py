"""The options of the commands, each declared once."""

from pathlib import Path
from typing import Annotated

import typer

from cmi_bench.api.ranking import By

MODEL = "Model"
INSTRUCTION = "What the songs were made from"
OUTPUT = "Output"
RANKING = "Ranking"

Songs = Annotated[
    list[Path] | None,
    typer.Argument(metavar="SONGS...", help="Audio files, and folders whose audio files are all taken."),
]
Requests = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Instead of SONGS: JSON lines or CSV with the columns audio, text, lyrics, ref_audio, of which only audio"
        " is needed. Paths are relative to the file; other columns are carried through.",
    ),
]
Text = Annotated[
    str | None, typer.Option(help="The prompt, as it is: nothing is escaped.", rich_help_panel=INSTRUCTION)
]
TextFile = Annotated[
    Path | None, typer.Option(metavar="FILE", help="The prompt from a file; - is stdin.", rich_help_panel=INSTRUCTION)
]
Lyrics = Annotated[str | None, typer.Option(help="The lyrics.", rich_help_panel=INSTRUCTION)]
LyricsFile = Annotated[
    Path | None, typer.Option(metavar="FILE", help="The lyrics from a file; - is stdin.", rich_help_panel=INSTRUCTION)
]
Ref = Annotated[Path | None, typer.Option(metavar="AUDIO", help="The reference audio.", rich_help_panel=INSTRUCTION)]

Model = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="As in run.py model=NAME.", show_default="cmi_rm", rich_help_panel=MODEL),
]
Checkpoint = Annotated[
    str | None,
    typer.Option(help="A file, a folder or a hub id.", show_default="the model's published one", rich_help_panel=MODEL),
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, ...", rich_help_panel=MODEL)]
MaxDur = Annotated[
    float | None,
    typer.Option(
        metavar="SECONDS",
        help="How much of each song is used, from its start.",
        show_default="the benchmark's, 120",
        rich_help_panel=MODEL,
    ),
]
Precision = Annotated[str | None, typer.Option(help="32 or bf16.", show_default="32", rich_help_panel=MODEL)]
CacheDir = Annotated[
    Path | None,
    typer.Option(
        metavar="FOLDER",
        help="Where embeddings and scores are kept.",
        show_default="the benchmark's, or ~/.cache/cmi-bench where there is no checkout",
        rich_help_panel=MODEL,
    ),
]
NoCache = Annotated[bool, typer.Option("--no-cache", help="Keep nothing, use nothing kept.", rich_help_panel=MODEL)]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Other settings of the model and of scoring, in run.py's words: --set model.mode=standard,"
        " --set batch_size=4. Repeatable.",
        rich_help_panel=MODEL,
    ),
]

Json = Annotated[bool, typer.Option("--json", help="Print JSON lines.", rich_help_panel=OUTPUT)]
Csv = Annotated[bool, typer.Option("--csv", help="Print CSV.", rich_help_panel=OUTPUT)]

RankBy = Annotated[By, typer.Option("--by", help="What decides.", rich_help_panel=RANKING)]
Weight = Annotated[
    float | None,
    typer.Option(
        min=0.0,
        max=1.0,
        help="With --by mean: musicality's share; alignment has the rest. The scores are taken as they are.",
        show_default="0.5",
        rich_help_panel=RANKING,
    ),
]
TopK = Annotated[
    int | None, typer.Option(min=1, help="Only the best so many.", show_default="all", rich_help_panel=RANKING)
]
CopyTo = Annotated[
    Path | None,
    typer.Option(
        metavar="FOLDER",
        help="Copy the songs shown there, as 01_name, 02_name, ...; nothing is overwritten.",
        rich_help_panel=RANKING,
    ),
]
