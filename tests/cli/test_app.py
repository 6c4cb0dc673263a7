"""The commands: their options, one message for each mistake, and what a shell sees of them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cmi_bench.cli.app import app
from cmi_bench.utils.installation import command_of, tasks

COMMAND = Path(sys.executable).with_name("cmi-bench")


MISTAKES = [
    (["score"], 1, "Give songs, or a file of --requests"),
    (["score", "clean.wav", "--requests", "r.csv"], 1, "one of them"),
    (["score", "--requests", "gone.csv"], 1, "gone.csv does not exist"),
    (["score", "--requests", "r.csv", "--text", "x"], 1, "go with songs"),
    (["score", "gone.wav"], 1, "gone.wav does not exist"),
    (["score", "gone.wav", "lost.wav"], 1, "None of the 2 songs, such as gone.wav, exists"),
    (["score", "empty"], 1, "empty holds no audio files"),
    (["score", "clean.wav", "--ref", "gone.wav"], 1, "The reference gone.wav does not exist"),
    (["score", "clean.wav", "--text", "x", "--text-file", "y"], 1, "Both --text and --text-file"),
    (["score", "clean.wav", "--text-file", "gone"], 1, "--text-file gone cannot be read: No such file or directory."),
    (["score", "clean.wav", "--lyrics-file", "clean.wav"], 1, "--lyrics-file clean.wav is no text in UTF-8."),
    (["score", "clean.wav", "--text-file", "-", "--lyrics-file", "-"], 1, "are stdin"),
    (["score", "clean.wav", "--json", "--csv"], 1, "Both --json and --csv"),
    (["score", "clean.wav", "--no-cache"], 1, "Both --no-cache and --cache-dir"),
    (["score", "clean.wav", "--model", "signa"], 1, "Did you mean signal"),
    (["score", "clean.wav", "--checkpoint", "x"], 1, "has no option 'checkpoint'"),
    (["score", "clean.wav", "--model", "oracle"], 1, "answers from the labels"),
    (["score", "clean.wav", "--device", "cuda:99"], 1, "Asked for cuda:99"),
    (["score", "clean.wav", "--max-dur", "-3"], 1, "max_dur=-3.0 is not positive"),
    (["score", "clean.wav", "--set", "batchsize=3"], 1, "Did you mean batch_size"),
    (["score", "clean.wav", "--max-dur", "nan"], 1, "max_dur=nan is not a number"),
    (["score", "clean.wav", "--max-dur", "inf"], 1, "max_dur=inf is too large"),
    (["score", "clean.wav", "--set", "workers=-1"], 1, "workers=-1 is negative"),
    (["score", "clean.wav", "--set", "=3"], 1, "The settings cannot be read"),
    (["score", "clean.wav", "--set", "batch_size=" + "9" * 5000], 1, "The settings cannot be read"),
    (["score", "clean.wav", "--set", "kernels=of"], 1, "Did you mean off"),
    (["score", "clean.wav", "--set", "device=cuda"], 1, "Give it as --device"),
    (["score", "clean.wav", "--set", "limit=3"], 1, "--set limit=3 has no effect on songs"),
    (["score", "clean.wav", "--set", "seed=-1"], 1, "seed=-1 is negative"),
    (["rank", "clean.wav", "--weight", "0.3"], 1, "Use --by mean"),
    (["rank", "clean.wav", "--by", "loudness"], 2, "loudness"),
    (["rank", "clean.wav", "--copy-to", "r.csv"], 1, "--copy-to r.csv is a file, and a folder is needed"),
    (["rank", "clean.wav", "--top-k", "0"], 2, "--top-k"),
    (["score", "clean.wav", "--bogus"], 2, "--bogus"),
]


@pytest.mark.parametrize(
    ("words", "code", "says"), MISTAKES, ids=lambda value: " ".join(value)[:60] if isinstance(value, list) else ""
)
def test_a_mistake_gets_one_message(songs, cli, words, code, says):
    (songs / "empty").mkdir()
    (songs / "r.csv").write_text("audio\nclean.wav\n")
    done = cli(*words)
    assert done.exit_code == code
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


@pytest.mark.slow
def test_the_installed_command_in_a_pipe(songs, tmp_path):
    """Stdout holds results only, a reader that leaves early is no error, and nothing is left in the folder."""
    before = sorted(path for path in songs.rglob("*"))
    environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path), "OMP_NUM_THREADS": "1"}
    command = f"{COMMAND} score clean.wav takes --model signal --no-cache --json"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=True, env=environment)
    assert len([json.loads(line) for line in done.stdout.splitlines()]) == 3
    done = subprocess.run(
        f"set -o pipefail; {command} | true",
        shell=True,
        executable="/bin/bash",
        capture_output=True,
        text=True,
        env=environment,
    )
    assert (done.returncode, done.stderr) == (0, "Loading signal\n")
    assert sorted(path for path in songs.rglob("*")) == before


@pytest.mark.parametrize(
    ("typed", "offered"),
    [("sc", "score"), ("comp", "compare"), ("score --che", "--checkpoint"), ("rank --to", "--top-k")],
)
def test_commands_and_options_are_completed(typed, offered):
    """What `--show-completion` has bash ask for."""
    asked = {"_CMI_BENCH_COMPLETE": "complete_bash", "COMP_WORDS": f"cmi-bench {typed}"}
    asked["COMP_CWORD"] = str(len(typed.split()))
    assert CliRunner().invoke(app, env=asked, prog_name="cmi-bench").output.split() == [offered]


OF_THE_WORK = {
    *("hydra", "omegaconf", "numpy", "scipy", "pandas", "matplotlib", "pyarrow", "soundfile", "huggingface_hub"),
    *("torch", "torchaudio", "lightning", "mlflow", "transformers", "ray", "fastapi", "cmi_bench.main"),
}
"""What help has no use for, and what takes most of a second to import."""


def test_help_and_completion_import_nothing_of_the_work():
    own = [command.name or command.callback.__name__ for command in app.registered_commands]
    asked = [[], *([name] for name in own if name not in {command_of(task) for task in tasks()})]
    code = f"""
import sys
from cmi_bench.cli.app import app
from cmi_bench.utils.installation import command_of, tasks
for words in {asked}:
    app([*words, "--help"], standalone_mode=False)
print(sorted({OF_THE_WORK} & set(sys.modules)), file=sys.stderr)
"""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONSTARTUP"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert done.stderr.strip() == "[]"
    assert done.stdout.count("Usage: ") == len(asked) > 6
