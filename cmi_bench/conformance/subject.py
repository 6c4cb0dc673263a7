"""The model under check, asked as the benchmark asks it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from cmi_bench.audio.decode import decode
from cmi_bench.conformance.differences import Comparison, Scores, spread_of
from cmi_bench.conformance.finding import FailedCheckError
from cmi_bench.conformance.probes import MAX_DUR, Probe, Probes
from cmi_bench.inference.answers import checked_scores
from cmi_bench.models.contract import AudioInput, BenchmarkBatchInput, RewardModel, SomeFailedError, UnusedInput
from cmi_bench.models.remote import RemoteModel

REPEATED_BY_SERVICE = 2
"""A service is paid for each answer: of those that are asked for repeatedly, so many."""


class Subject:
    """A model with the clips it is asked about."""

    def __init__(
        self, model: RewardModel, probes: Probes, *, tolerance: float, score_kwargs: Mapping[str, Any]
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
        self._alone: dict[Probe, Scores] = {}

    @property
    def form(self) -> AudioInput:
        """What the benchmark hands the model as audio."""
        return getattr(self.model, "audio_input", "path")

    @property
    def unused(self) -> frozenset[UnusedInput]:
        """What the model says that its scores do not depend on."""
        return frozenset(getattr(self.model, "unused_inputs", ()))

    def inputs(
        self,
        probes: Sequence[Probe],
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
                clip_id=probe.name,
            )
            for probe in probes
        ]

    def answer(self, inputs: list[BenchmarkBatchInput], *, batch_size: int | None = None) -> Scores:
        """Return the model's scores [N, 2].

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
        return checked_scores(answer, count, type(self.model).__name__)

    def ask(self, probes: Sequence[Probe], *, batch_size: int | None = None) -> Scores:
        """Return the scores [N, 2] of a batch; see `answer`."""
        return self.answer(self.inputs(probes), batch_size=batch_size)

    def alone(self, probes: Sequence[Probe]) -> Scores:
        """Return the scores [N, 2] that clips have by themselves; each is asked for once."""
        for probe in probes:
            if probe not in self._alone:
                self._alone[probe] = self.ask([probe])
        return np.concatenate([self._alone[probe] for probe in probes])

    def compare(self, found: Scores, wanted: Scores, probes: Sequence[Probe]) -> str:
        """Return in words how far scores [N, 2] of clips are apart.

        Raises:
            FailedCheckError: Further than the tolerance.
        """
        spread = spread_of(np.concatenate(list(self._alone.values())))
        return Comparison(self.tolerance, spread).check(found, wanted, [probe.name for probe in probes])

    def answered(self, probes: Sequence[Probe]) -> list[Probe]:
        """Return those that the model could score by themselves: what it fails on has a check of its own."""
        return [probe for probe in probes if probe in self._alone]

    def repeated(self) -> list[Probe]:
        """Return clips without reference for checks that ask again and again."""
        found = self.answered(self.probes.plain)
        return found[:REPEATED_BY_SERVICE] if isinstance(self.model, RemoteModel) else found
