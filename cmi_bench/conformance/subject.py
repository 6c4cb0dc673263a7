"""The model under check, asked as the benchmark asks it, with the clips it is asked about.

The clips are few and short, so that a large network on a CPU can be checked too.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import soundfile
from torch import Tensor

from cmi_bench.audio.decode import decode
from cmi_bench.data.synthetic.degradation import ClipPlan, make_clip
from cmi_bench.data.synthetic.degradation_set import Piece, clean_pieces
from cmi_bench.data.synthetic.instruments import Wave
from cmi_bench.models.base import (
    AudioInput,
    BenchmarkBatchInput,
    BenchmarkModelABC,
    SomeFailedError,
    UnusedInput,
)
from cmi_bench.scoring.model_call import checked_members, mean_over_members
from cmi_bench.types import Clip


class CheckOutcome(StrEnum):
    """How a check went."""

    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"
    """It does not apply, or could not be asked; the detail says why."""


@dataclass(frozen=True)
class CheckResult:
    """One line of the report."""

    check: str
    outcome: CheckOutcome
    detail: str
    """What was seen: numbers where there are some."""


class FailedCheckError(Exception):
    """The model does not do what the check asks; the message says what differs, and by how much."""


class SkippedCheckError(Exception):
    """The check does not apply to the model; the message says why."""


def failures(findings: Iterable[CheckResult]) -> list[CheckResult]:
    """Return what failed."""
    return [finding for finding in findings if finding.outcome is CheckOutcome.FAILED]


Scores = npt.NDArray[np.float64]
"""[N, 2], or [N, 4] of an ensemble: the columns of `COLUMNS`."""
TOLERANCES = {"32": 1e-4, "tf32": 1e-3, "bf16": 1e-3}
"""Largest difference by precision, of scores up to 1 in size; of larger scores, in proportion."""
COLUMNS = ("alignment", "musicality", "spread of alignment", "spread of musicality")
"""Of scores: what the model gives; and of an ensemble, by how much its members differ (standard deviation)."""
JUDGED = 2
"""How many of the columns every model has."""


def scores_of(members: npt.NDArray[np.float64]) -> Scores:
    """Return the scores of N clips from what each of M members says of them [M, N, 2]."""
    means = mean_over_members(members)
    return means if len(members) == 1 else np.concatenate([means, members.std(axis=0, ddof=1)], axis=1)


class ScoreComparison(NamedTuple):
    """How scores are compared."""

    tolerance: float
    """For scores up to 1 in size."""
    reach: tuple[float, ...]
    """Largest less smallest score among the clips, by column; 0 where that is not known."""

    def check(self, found: Scores, wanted: Scores, names: Sequence[str]) -> str:
        """Return the largest difference in words.

        Args:
            found: Of N clips.
            wanted: Of the same clips.
            names: What the N clips are called.

        Raises:
            FailedCheckError: A score differs by more than the tolerance, or is a number on one side only.
        """
        one_sided = np.argwhere(np.isnan(found) != np.isnan(wanted))
        if len(one_sided):
            row, column = one_sided[0]
            raise FailedCheckError(
                f"{COLUMNS[column]} of {names[row]} is {found[row, column]:.6g}, was {wanted[row, column]:.6g}."
            )
        difference = np.nan_to_num(np.abs(found - wanted))
        allowed = self.tolerance * np.maximum(1.0, np.nan_to_num(np.abs(wanted)))
        row, column = map(int, np.unravel_index(np.argmax(difference / allowed), difference.shape))
        worst = difference[row, column]
        if worst <= allowed[row, column]:
            return f"Largest difference {difference.max():.1g}."
        share = f", {worst / self.reach[column]:.1%} of the clips' range" if self.reach[column] > 0 else ""
        raise FailedCheckError(
            f"{COLUMNS[column]} of {names[row]} is {found[row, column]:.6g}, was {wanted[row, column]:.6g}: a"
            f" difference of {worst:.2g}{share}; allowed is {allowed[row, column]:.1g}."
        )


def reach_of(scores: Scores) -> tuple[float, ...]:
    """Return, by column, how far scores reach; 0 where a column has no two numbers."""
    reach = []
    for column in scores.T:
        known = column[np.isfinite(column)]
        reach.append(float(np.ptp(known)) if len(known) else 0.0)
    return tuple(reach)


MAX_DUR = 4.0
"""Seconds of a clip that may be looked at; not the run's `max_dur`, so that the long clip can be short."""
SHARED_SECONDS = MAX_DUR + 0.25
"""Where the two long clips part: past the crop by more than a resampler's filter reaches."""
LONG_SECONDS = 6.0
SHORT_SECONDS = 0.2
SILENT_SECONDS = 2.0
PROBES_ID = 6
"""First id of the random streams; the mini benchmark and the perturbations have 1 to 5."""


class Probes(NamedTuple):
    """All clips that are asked about; a clip's id is its name in messages."""

    plain: tuple[Clip, ...]
    """Of different lengths and containers, without reference; the first has text, the last no instruction at all."""
    referring: tuple[Clip, ...]
    """With reference audio."""
    silent: Clip
    short: Clip
    long: Clip
    """Longer than `MAX_DUR`."""
    long_changed: Clip
    """The same up to `SHARED_SECONDS`; then loud noise where the other is silent."""

    @property
    def for_services(self) -> tuple[Clip, ...]:
        """What is asked of a service, each once: not the changed clip, since equal audio may get another answer."""
        return (*self.plain, *self.referring, self.silent, self.short, self.long)


def make_probes(folder: Path, sr: int) -> Probes:
    """Write the clips' audio, the same bytes each time.

    Args:
        folder: Where to.
        sr: The model's sampling rate, Hz, which the long clips have: nothing is resampled across the crop.
    """
    folder.mkdir(parents=True, exist_ok=True)
    first, second, third, vocal = clean_pieces(4)
    instrumental = _write(folder / "instrumental.wav", _play(first, 3.0, 44100, channels=2), 44100)
    song = _write(folder / "song.flac", _play(vocal, 2.0, 16000), 16000)
    bare = _write(folder / "bare.mp3", _play(second, 2.5, 44100, channels=2), 44100)
    reference = _write(folder / "reference.wav", _play(third, 2.0, 48000), 48000)
    short = _write(folder / "short.wav", _play(first, SHORT_SECONDS, 44100), 44100)
    silence = _write(folder / "silence.wav", np.zeros((int(SILENT_SECONDS * 44100), 1), dtype=np.float32), 44100)
    long, changed = (_write(folder / f"{name}.wav", wave, sr) for name, wave in _long_pair(second, sr).items())
    return Probes(
        plain=(
            Clip("a clip with text", instrumental, first.prompt),
            Clip("a clip with text and lyrics", song, vocal.prompt, vocal.lyrics),
            Clip("a clip without instruction", bare),
        ),
        referring=(
            Clip("a clip with text and reference", bare, second.prompt, "", reference),
            Clip("a clip with text, lyrics and reference", song, vocal.prompt, vocal.lyrics, reference),
        ),
        silent=Clip("the silent clip", silence, first.prompt),
        short=Clip("the short clip", short, first.prompt),
        long=Clip("the long clip", long, second.prompt),
        long_changed=Clip("the long clip", changed, second.prompt),
    )


def _play(piece: Piece, seconds: float, sr: int, channels: int = 1) -> Wave:
    return make_clip(ClipPlan("", piece.style, (), seconds, sr, channels, (PROBES_ID, piece.number)))


def _long_pair(piece: Piece, sr: int) -> dict[str, Wave]:
    start = _play(piece, SHARED_SECONDS, sr)
    size = int(LONG_SECONDS * sr) - len(start)
    noise = np.random.default_rng(PROBES_ID).uniform(-0.9, 0.9, (size, 1)).astype(np.float32)
    return {"long": np.concatenate([start, 0 * noise]), "long-changed": np.concatenate([start, noise])}


def _write(path: Path, wave: Wave, sr: int) -> Path:
    soundfile.write(path, wave, sr)
    return path


REPEATED_BY_SERVICE = 2
"""A service is paid for each answer: of those that are asked for repeatedly, so many."""


class Subject:
    """A model with the clips it is asked about."""

    def __init__(
        self, model: BenchmarkModelABC, probes: Probes, *, tolerance: float, score_kwargs: Mapping[str, Any]
    ) -> None:
        """Take a model.

        Args:
            model: Its `sr` is a positive int.
            probes: What it is asked about.
            tolerance: Largest difference of scores that must be equal, for scores up to 1 in size.
            score_kwargs: Passed on to `score_batch`.
        """
        self.model = model
        self.probes = probes
        self.tolerance = tolerance
        self.score_kwargs = score_kwargs
        self._alone: dict[Clip, Scores] = {}
        self.n_members: int | None = None
        """How many members answer, 1 for a model that is no ensemble; None before the first answer."""

    @property
    def form(self) -> AudioInput:
        """What the benchmark hands the model as audio."""
        return self.model.audio_input

    @property
    def unused(self) -> frozenset[UnusedInput]:
        """What the model says that its scores do not depend on."""
        return self.model.unused_inputs

    def inputs(
        self,
        probes: Sequence[Clip],
        *,
        form: AudioInput | None = None,
        unused: frozenset[UnusedInput] | None = None,
    ) -> list[BenchmarkBatchInput]:
        """Return what the model is given, with freshly decoded audio.

        Args:
            probes: The clips.
            form: Another form than the model's own.
            unused: What is left out, if not what the model says.
        """
        form, left_out = form or self.form, self.unused if unused is None else unused

        def audio(path: Path) -> "str | Tensor":
            return str(path) if form == "path" else decode(path, int(self.model.sr), MAX_DUR)

        return [
            BenchmarkBatchInput(
                audio=audio(probe.audio),
                text="" if "text" in left_out else probe.text,
                lyrics="" if "lyrics" in left_out else probe.lyrics,
                ref_audio=None if probe.ref_audio is None or "ref_audio" in left_out else audio(probe.ref_audio),
                clip_id=probe.clip_id,
            )
            for probe in probes
        ]

    def answer(self, inputs: list[BenchmarkBatchInput], *, batch_size: int | None = None) -> Scores:
        """Return the model's scores.

        Raises:
            FailedCheckError: It could not score some of the clips.
            ContractError: It answered in a form that cannot be read.
            Exception: Whatever the model raises.
        """
        count = len(inputs)
        try:
            answer = self.model.score_batch(inputs, batch_size or count, MAX_DUR, **self.score_kwargs)
        except SomeFailedError as error:
            raise FailedCheckError("; ".join(error.reasons.values())) from error
        return self.read(answer, count)

    def read(self, answer: Any, count: int) -> Scores:
        """Return the scores in a model's answer.

        Args:
            answer: As `score_batch` or `score_embedded` returns it.
            count: Of the clips that it is about.

        Raises:
            FailedCheckError: An ensemble of more, or fewer, members than before.
            ContractError: It cannot be read.
        """
        members = checked_members(answer, count, self.model.class_name)
        if self.n_members not in (None, len(members)):
            raise FailedCheckError(f"It answers with {len(members)} members, before with {self.n_members}.")
        self.n_members = len(members)
        return scores_of(members)

    def ask(self, probes: Sequence[Clip], *, batch_size: int | None = None) -> Scores:
        """Return the scores of a batch; see `answer`."""
        return self.answer(self.inputs(probes), batch_size=batch_size)

    def alone(self, probes: Sequence[Clip]) -> Scores:
        """Return the scores that clips have by themselves; each is asked for once."""
        for probe in probes:
            if probe not in self._alone:
                self._alone[probe] = self.ask([probe])
        return np.concatenate([self._alone[probe] for probe in probes])

    def compare(self, found: Scores, wanted: Scores, probes: Sequence[Clip]) -> str:
        """Return in words how far scores of clips are apart.

        Raises:
            FailedCheckError: Further than the tolerance.
        """
        reach = reach_of(np.concatenate(list(self._alone.values())))
        return ScoreComparison(self.tolerance, reach).check(found, wanted, [probe.clip_id for probe in probes])

    def answered(self, probes: Sequence[Clip]) -> list[Clip]:
        """Return those that the model could score by themselves: what it fails on has a check of its own."""
        return [probe for probe in probes if probe in self._alone]

    def repeated(self) -> list[Clip]:
        """Return clips without reference for checks that ask again and again."""
        found = self.answered(self.probes.plain)
        return found[:REPEATED_BY_SERVICE] if self.model.is_remote else found
