"""CMI-RM beside the public code: speed, memory and scores on the same random network and the same audio, in turns.

`python -m benchmarks.against_public --repo FOLDER [--python INTERPRETER]`: FOLDER is a checkout of
https://github.com/Haiwen-Xia/CMI-RewardBench, INTERPRETER one that has its `baselines/requirements.txt`. Nothing of it
is in this project: `benchmarks.sides` imports it from there.

1. Cold: a new process for each side, from its start to the scores of one clip of 30 s.
2. Steady: the processes stay, and score the same clips in turns, one while the other waits; who is first changes from
   turn to turn. `--busy 0 2 4` repeats this beside so many busy processes.
3. Commands: those of each side for one song and for a benchmark, from start to end; ours again with what it kept.

Each round gives one ratio. Results are printed and go to `outputs/bench/`. With `--precision bf16` on a CPU only ours
computes in bfloat16: the public code does so on CUDA only.
"""

import argparse
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, get_args

import numpy as np
import soundfile
import torch
from safetensors.torch import save_file

from benchmarks.audio import SR, music
from benchmarks.inference import describe_machine
from benchmarks.side_by_side import (
    CHUNK_SECONDS,
    SIDES,
    Case,
    ColdStart,
    Turn,
    agreement_table,
    cold_line,
    cold_table,
    compare_scores,
    describe_case,
    ratios,
    turn_line,
    turn_table,
)
from benchmarks.turns import Worker, busy_processes
from benchmarks.whole_commands import Command, Setup, benchmark_commands, command_table, song_commands
from benchmarks.workload import write_whole_checkpoint, write_workload
from cmi_bench.audio.decode import decode
from cmi_bench.errors import UserError
from cmi_bench.models.batching import Precision, check_device
from cmi_bench.models.cmi_rm.checkpoint import NOT_USED
from cmi_bench.models.device_rate import device_name
from cmi_bench.tracking.metadata import versions
from cmi_bench.utils.console import plain_text, print_view
from cmi_bench.utils.files import write_text_atomic

OUTPUT = Path("outputs/bench")
PROJECT = Path(__file__).parents[1]
SPACE = 4e9
"""Bytes of disk that are needed for a while."""
MINUTES, QUICK_MINUTES = 10.0, 3.0
WIDTH = 130
"""Columns of the tables, where they do not go to a terminal."""
OFFLINE = {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
"""Variables of both sides: everything is on this disk."""
MODEL_SR = 24_000
"""Hz: of waveforms that are handed over."""
URL = "https://github.com/Haiwen-Xia/CMI-RewardBench"


@dataclass
class Measured:
    """What has been measured so far."""

    about: list[str] = field(default_factory=list)
    cold: list[ColdStart] = field(default_factory=list)
    turns: list[Turn] = field(default_factory=list)
    commands: dict[str, list[Command]] = field(default_factory=dict)
    """By what they did."""
    left_out: list[str] = field(default_factory=list)
    """What was not measured, and why."""

    def views(self) -> list[Any]:
        """Return texts and tables for people."""
        views: list[Any] = [*self.about]
        if {start.side for start in self.cold} == set(SIDES):
            views.append(cold_table(self.cold))
        if rows := ratios(self.turns):
            views += [turn_table(self.turns, rows), agreement_table(compare_scores(self.turns))]
        views += [command_table(title, commands) for title, commands in self.commands.items()]
        return [*views, *(f"Left out: {one}" for one in self.left_out)]

    def document(self) -> dict[str, Any]:
        """Return it for machines."""
        rows = ratios(self.turns)
        return {
            "about": self.about,
            "versions": versions(),
            "cold": [asdict(one) for one in self.cold],
            "turns": [asdict(turn) | {"case": turn.case._asdict()} for turn in self.turns],
            "ratios": [
                row._asdict() | {name: getattr(row, name)._asdict() for name in ("case", "clock", "processor")}
                for row in rows
            ],
            "agreement": compare_scores(self.turns) if rows else {},
            "commands": {title: [asdict(one) for one in commands] for title, commands in self.commands.items()},
            "left_out": self.left_out,
        }


def main() -> None:
    """Measure, print, and write `public.json` and `public.txt`, of what there is if it ends early."""
    args = _arguments(sys.argv[1:])
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that what was written for a while is removed
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # in a file, too, each line as it comes
    measured, stopped = Measured(), ""
    try:
        measure(args, measured)
    except UserError as error:
        stopped = str(error)
    except KeyboardInterrupt:
        stopped = "Stopped."
    if measured.cold:
        _report(measured)
    sys.exit(stopped or None)


def _report(measured: Measured) -> None:
    views = measured.views()
    for view in views:
        print_view(view, width=WIDTH)
    write_text_atomic(OUTPUT / "public.json", json.dumps(measured.document(), indent=2) + "\n")
    write_text_atomic(OUTPUT / "public.txt", "\n".join(plain_text(view, width=WIDTH) for view in views))
    print_view(f"Results: {OUTPUT.absolute()}")


def _arguments(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.against_public", description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    add = parser.add_argument
    add("--repo", type=Path, required=True, help=f"a checkout of {URL}")
    add("--python", default=sys.executable, help="an interpreter that has its requirements (default: this one)")
    add("--device", default="cpu", help="cpu, cuda or cuda:N")
    add("--precision", choices=get_args(Precision), default="32")
    add("--compile", action="store_true", help="on CUDA: ours with compile=true, in turns")
    add("--threads", type=int, default=0, help="threads of each side (default: torch's)")
    add("--batch", type=int, nargs="+", default=[1, 8], help="batch sizes (default: 1 8)")
    add("--seconds", type=int, nargs="+", default=[30, 120], help="lengths of clips (default: 30 120)")
    add("--references", choices=("no", "yes"), nargs="+", default=["no", "yes"], help="(default: no yes)")
    add("--busy", type=int, nargs="+", default=[0], help="numbers of busy processes beside (default: 0)")
    add("--container", choices=("wav", "mp3"), default="wav", help="of the audio files (default: wav)")
    add("--rounds", type=int, default=5, help="turns of each case, at most (default: 5)")
    add("--cold", type=int, default=2, help="cold starts of each side (default: 2)")
    add("--minutes", type=float, default=MINUTES, help=f"no turn is begun that would end later (default: {MINUTES:g})")
    add("--pairs", type=int, default=2, help="rows of the benchmark's commands; 0 leaves commands out (default: 2)")
    add("--quick", action="store_true", help=f"--minutes {QUICK_MINUTES:g} --cold 1 --pairs 0")
    args = parser.parse_args(words)
    if args.quick:
        args.minutes, args.cold, args.pairs = QUICK_MINUTES, 1, 0
    for name in ("batch", "seconds", "rounds", "cold", "minutes"):
        if np.min(getattr(args, name)) <= 0:
            parser.error(f"--{name} must be above 0")
    for name in ("busy", "pairs", "threads"):
        if np.min(getattr(args, name)) < 0:
            parser.error(f"--{name} must not be below 0")
    return args


def measure(args: argparse.Namespace, measured: Measured) -> None:
    """Measure what the arguments say, into `measured`.

    Raises:
        UserError: Something is missing: a folder, an interpreter, a module, space, a device.
    """
    _check_request(args)
    until = time.perf_counter() + 60 * args.minutes
    chosen = itertools.product(sorted({*args.batch}), sorted({*args.seconds}), sorted({*args.references}))
    cases = sorted((Case(b, s, r == "yes") for b, s, r in chosen), key=lambda case: case.chunks)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        clips = Clips(folder / "audio", args.container)
        cannot_decode = _why_public_cannot_decode(args, folder, clips.file(CHUNK_SECONDS, 0))
        clips.as_waveforms = bool(cannot_decode)
        measured.about += [
            describe_machine(),
            f"{args.device}: {device_name(torch.device(args.device))}; precision {args.precision}",
            f"Audio: {_audio_words(args.container, cannot_decode)}. Public code: {_commit(args.repo)}",
        ]
        print_view("Writing a random network of the released sizes ...")
        checkpoint = write_whole_checkpoint(folder)
        write_empty_bases(folder)
        with ExitStack() as stack:
            workers = _cold_starts(args, clips, checkpoint, stack, measured)
            reserve = _seconds_of_commands(measured.cold, args.pairs)
            _all_turns(args, workers, cases, clips, until - reserve, measured)
        measured.left_out += [
            f"{describe_case(case)}: takes longer than --minutes {args.minutes:g} allows"
            for case in cases
            if not any(turn.case == case for turn in measured.turns)
        ]
        if cannot_decode and args.pairs:
            measured.left_out.append("commands: the public code's cannot decode here")
        elif args.pairs:
            _commands(args, clips, checkpoint, measured)


# What is there


def _check_request(args: argparse.Namespace) -> None:
    if not (args.repo / "baselines" / "inference.py").is_file():
        raise UserError(
            f"{args.repo} is no checkout of the public repository: it has no baselines/inference.py.",
            f"git clone {URL}, and name its folder: --repo CMI-RewardBench.",
        )
    if shutil.which(args.python) is None:
        raise UserError(f"There is no interpreter {args.python}.", "Name one, as in --python venv/bin/python.")
    check_device(args.precision, _device(args.device), key="--precision")
    if shutil.disk_usage(tempfile.gettempdir()).free < SPACE:
        raise UserError(
            f"{tempfile.gettempdir()} needs {SPACE / 1e9:.0f} GB for a while.", "Set TMPDIR to another disk."
        )


def _device(name: str) -> torch.device:
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UserError(f"There is no device {name!r}.", "Use --device cpu, cuda or cuda:N.") from None
    if device.type != "cpu" and (device.index or 0) >= torch.cuda.device_count():
        raise UserError(f"There is no GPU for --device {name}.", "Leave --device out to measure on the CPU.")
    return device


def _why_public_cannot_decode(args: argparse.Namespace, folder: Path, probe: Path) -> str:
    """Return why the public code cannot decode; empty if it can.

    Raises:
        UserError: It cannot be imported.
    """
    with _start(args, folder, "check", probe=str(probe)) as worker:
        return str(worker.ready()["cannot_decode"])


def _start(args: argparse.Namespace, folder: Path, side: str, **more: Any) -> Worker:
    settings = {
        "repository": str(args.repo.absolute()),
        "checkpoint": str(folder / "whole"),
        "device": args.device,
        "precision": args.precision,
        "compile": args.compile,
        "hint": "Make an environment with baselines/requirements.txt of the public repository, and name its"
        " interpreter: --python ENVIRONMENT/bin/python.",
        **more,
    }
    # The public code takes the names in the configurations as folders of where it runs.
    return Worker(
        "Ours" if side == "ours" else "The public code",
        [sys.executable if side == "ours" else _python(args), "-m", "benchmarks.sides", side, json.dumps(settings)],
        folder=folder,
        environment=_environment(args),
    )


def _environment(args: argparse.Namespace) -> dict[str, str]:
    given = os.environ.get("PYTHONPATH", "")
    threads = {"OMP_NUM_THREADS": str(args.threads)} if args.threads else {}
    return {"PYTHONPATH": os.pathsep.join([str(PROJECT), *([given] if given else [])]), **OFFLINE, **threads}


def _python(args: argparse.Namespace) -> str:
    return str(Path(shutil.which(args.python) or args.python).absolute())


def _audio_words(container: str, why_waveforms: str) -> str:
    if why_waveforms:
        return f"waveforms, the same for both, since the public code cannot decode here ({why_waveforms})"
    return f"{container} files, decoded by each side"


def _commit(repository: Path) -> str:
    commit = ""
    if (repository / ".git").exists() and shutil.which("git"):
        command = ["git", "-C", str(repository), "rev-parse", "--short=12", "HEAD"]
        commit = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    return commit or f"{repository} (no git checkout: which version is not known)"


# What is scored


def write_empty_bases(folder: Path) -> None:
    """Write what the public code wants beside the configurations: weights without a tensor, and a tokenizer's names.

    It fills its encoders from these before the checkpoint, which has all of their tensors, overwrites them.
    """
    for name in ("muq-mulan", "muq", "xlm-roberta"):
        save_file({}, folder / name / "model.safetensors", metadata={"format": "pt"})
    special = {"bos_token": "<s>", "pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    tokenizer = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 512, **special}
    (folder / "xlm-roberta" / "tokenizer_config.json").write_text(json.dumps(tokenizer), "utf-8")


class Clips:
    """Pieces of music in files, written when first asked for."""

    def __init__(self, folder: Path, container: str) -> None:
        folder.mkdir()
        self.folder = folder
        self.container = container
        self.as_waveforms = False
        """Whether the sides get samples at the model's rate, decoded by ours, instead of files."""

    def file(self, seconds: int, seed: int) -> Path:
        """Return a file with another piece for each seed."""
        path = self.folder / f"{seconds}_{seed}.{self.container}"
        if not path.exists():
            soundfile.write(path, music(seconds, seed=seed), SR)
        return path

    def items(self, case: Case) -> list[dict[str, Any]]:
        """Return the clips of a case, as `benchmarks.sides` takes them."""
        return [
            {
                "audio": self._audio(case.seconds, 2 * number),
                "text": f"A slow song number {number} for strings and drums, warm and a little sad.",
                "lyrics": f"[verse] line {number} and on we go, the night is long, the lights are low",
                "ref_audio": self._audio(case.seconds, 2 * number + 1) if case.references else None,
            }
            for number in range(case.clips)
        ]

    def _audio(self, seconds: int, seed: int) -> str:
        path = self.file(seconds, seed)
        if not self.as_waveforms:
            return str(path)
        samples = path.with_suffix(".npy")
        if not samples.exists():
            np.save(samples, decode(path, MODEL_SR).numpy())
        return str(samples)


# Measuring


def _in_turn(number: int) -> Sequence[str]:
    return SIDES if number % 2 == 0 else SIDES[::-1]


def _cold_starts(
    args: argparse.Namespace, clips: Clips, checkpoint: Path, stack: ExitStack, measured: Measured
) -> dict[str, Worker]:
    """Measure cold starts and return the last process of each side, which stays."""
    print_view("Cold starts ...")
    items = clips.items(Case(1, CHUNK_SECONDS, references=False))
    workers: dict[str, Worker] = {}
    for number in range(args.cold):
        for side in _in_turn(number):
            if side in workers:
                workers[side].close()
            workers[side] = stack.enter_context(_start(args, checkpoint.parent, side))
            measured.cold.append(_cold_start(side, workers[side], items, checkpoint))
            print_view(cold_line(measured.cold[-1]))
    return workers


def _cold_start(side: str, worker: Worker, items: list[dict[str, Any]], checkpoint: Path) -> ColdStart:
    ready = worker.ready()
    if side == "public":
        check_tensors(ready["not_filled"], ready["not_taken"], checkpoint)
    answer = worker.ask(items=items, batch_size=1, max_dur=CHUNK_SECONDS)
    return ColdStart(
        side,
        time.perf_counter() - worker.started,
        answer["processor_seconds_since_start"],
        ready["load_seconds"],
        answer["seconds"],
        answer["processor_seconds"],
        answer["memory_gb"],
    )


def check_tensors(not_filled: Sequence[str], not_taken: Sequence[str], checkpoint: Path) -> None:
    """Check that the public code computes with the checkpoint's tensors, of which it passes over any silently.

    Args:
        not_filled: Names of its tensors that the checkpoint has not.
        not_taken: Names of the checkpoint's tensors that it has not.
        checkpoint: In the message.

    Raises:
        UserError: One is missing that a score depends on, and the scores could not be compared.
    """
    missing = [name for name in not_filled if not any(fnmatch(name, pattern) for pattern in NOT_USED)]
    wrong = [*missing, *(name for name in not_taken if not any(fnmatch(name, pattern) for pattern in NOT_USED))]
    if wrong:
        raise UserError(
            f"The public code does not take the tensors of {checkpoint} as they are: {', '.join(wrong[:5])}"
            f"{' ...' if len(wrong) > 5 else ''} ({len(missing)} missing, {len(wrong) - len(missing)} left over).",
            "Use the version of the public repository that the released checkpoint is for.",
        )


def _all_turns(
    args: argparse.Namespace,
    workers: dict[str, Worker],
    cases: list[Case],
    clips: Clips,
    until: float,
    measured: Measured,
) -> None:
    for number, busy in enumerate(args.busy):
        # What time is left is shared between the numbers of busy processes.
        now = time.perf_counter()
        level_ends = now + (until - now) / (len(args.busy) - number)
        with busy_processes(busy):
            for turn in take_turns(workers, cases, clips, busy=busy, rounds=args.rounds, until=level_ends):
                print_view(turn_line(turn))
                measured.turns.append(turn)


def take_turns(
    workers: dict[str, Worker], cases: Sequence[Case], clips: Clips, *, busy: int, rounds: int, until: float
) -> Iterator[Turn]:
    """Yield what scoring each case took on each side, round by round.

    Args:
        workers: The sides' processes.
        cases: The cheapest first.
        clips: Their audio.
        busy: How many other processes keep the machine busy.
        rounds: How often each case is scored, at most.
        until: On `time.perf_counter`: a case that would end later, by what was measured before, is
            left out.
    """
    per_chunk = 0.0
    for number in range(rounds):
        for place, case in enumerate(cases):
            if per_chunk and time.perf_counter() + per_chunk * case.chunks > until:
                continue
            items = clips.items(case)
            began = time.perf_counter()
            for side in _in_turn(number + place):
                answer = workers[side].ask(items=items, batch_size=case.batch, max_dur=case.seconds)
                del answer["processor_seconds_since_start"]
                yield Turn(side, case, busy, number, **answer)
            per_chunk = (time.perf_counter() - began) / case.chunks


def _seconds_of_commands(cold: Sequence[ColdStart], pairs: int) -> float:
    """Return about how long the commands take."""
    seconds = 0.0
    for start in cold[-len(SIDES) :] if pairs else ():
        started, clips = (2, 1 + 4 * pairs) if start.side == "public" else (5, 1 + 3 * pairs)
        seconds += started * (start.seconds - start.first_seconds) + clips * start.first_seconds
    return seconds


def _commands(args: argparse.Namespace, clips: Clips, checkpoint: Path, measured: Measured) -> None:
    print_view("Commands ...")
    setup = Setup(args.repo.absolute(), _python(args), checkpoint, args.device, args.precision, _environment(args))
    (item,) = clips.items(Case(1, CHUNK_SECONDS, references=False))
    song, text, lyrics = Path(item["audio"]), item["text"], item["lyrics"]
    measured.commands[f"One song of {CHUNK_SECONDS} s, by command"] = song_commands(
        setup, song, seconds=CHUNK_SECONDS, text=text, lyrics=lyrics
    )
    measured.commands[f"The benchmark's command over {args.pairs} pairs with references"] = benchmark_commands(
        setup, write_workload(checkpoint.parent / "rows", args.pairs)
    )


if __name__ == "__main__":
    main()
