"""`TensorReward`: a reward model inside of the loop that trains a generator, called with the waveforms it made."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import torch
from torch import Tensor

from cmi_bench.api.guest import as_guest
from cmi_bench.api.ranking import criterion
from cmi_bench.api.scorer import SongScorer
from cmi_bench.api.songs import Song
from cmi_bench.errors import UserError
from cmi_bench.models.base import RewardModel

if TYPE_CHECKING:
    from cmi_bench.types import Score


Waveforms: TypeAlias = "Tensor | Sequence[Tensor]"
"""[songs, samples], [songs, channels, samples], or a list of [samples] or [channels, samples] of any lengths."""
Words: TypeAlias = "str | Sequence[str] | None"
"""One for each song, or one for all."""


class Rewards(NamedTuple):
    """What a batch of songs is worth: `rewards, details = reward(waveforms, prompts)`."""

    rewards: Tensor
    """float32 [songs], on the waveforms' device."""
    details: dict[str, Any]
    """"musicality" and "alignment" [songs], NaN for what the model does not judge; "errors", a text for each song."""


class TensorReward:
    """A reward function over waveforms in memory, in the form that GRPO loops of generators use.

    Called with a batch of waveforms on the device, their prompts and metadata, it returns rewards [songs] and details.
    The scores are those of `SongScorer.score` on the same samples. No gradients are computed. The caller's random
    numbers, the training mode of the model's networks, autocast and TF32 are as they were when it returns.

    What leaves the device: two numbers a song come back from it, and one is asked about each waveform (its peak).
    The waveforms themselves are copied to the CPU only where the model takes them there: see `SongScorer`.

    >>> import torch
    >>> from cmi_bench import TensorReward, load_model
    >>> reward = TensorReward(load_model("signal", device="cpu"), sample_rate=16000)
    >>> time = torch.arange(2 * 16000) / 16000
    >>> tone, noise = 0.3 * torch.sin(2 * torch.pi * 440 * time), 0.3 * torch.randn(2 * 16000)
    >>> rewards, details = reward(torch.stack([tone, noise]), ["a calm song", "a calm song"])
    >>> bool(rewards[0] > rewards[1]), list(details)
    (True, ['musicality', 'alignment', 'errors'])
    """

    def __init__(
        self,
        model: SongScorer | RewardModel,
        *,
        sample_rate: int,
        by: str = "musicality",
        weight: float = 0.5,
        failed: float | None = None,
    ) -> None:
        """Take a model.

        Args:
            model: Of `load_model`, or a model object of your own.
            sample_rate: Hz, of the waveforms.
            by: "musicality", "alignment", or "mean".
            weight: Of musicality in the mean, 0 to 1; alignment has the rest.
            failed: The reward of a song that cannot be scored (NaN is one too); None raises.

        Raises:
            UserError: There is no such thing to reward, or a number makes no sense.
        """
        if int(sample_rate) != sample_rate or sample_rate <= 0:
            raise UserError(f"The sampling rate {sample_rate!r} is not a whole number above 0.", "It is in Hz.")
        self.scorer = model if isinstance(model, SongScorer) else SongScorer(model)
        self.sample_rate = int(sample_rate)
        self.criterion = criterion(by, weight)
        self.failed = failed

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.criterion.description} of {self.scorer.model.class_name}>"

    def __call__(
        self,
        waveforms: Waveforms,
        prompts: Words = None,
        metadata: Sequence[Mapping[str, Any]] | None = None,
        *,
        lyrics: Words = None,
        ref_audio: "Sequence[Tensor | None] | Tensor | None" = None,
        lengths: "Sequence[int] | Tensor | None" = None,
    ) -> Rewards:
        """Judge songs.

        Args:
            waveforms: At `sample_rate`; full scale 1, or integers with theirs.
            prompts: What they were made from.
            metadata: Of each song; its "lyrics" are used where `lyrics` is not given.
            lyrics: What they were to sing.
            ref_audio: The references they were made from, in the form of `waveforms`; None for a song without one.
            lengths: Samples of each song, where the batch is padded.

        Raises:
            UserError: The arguments do not fit each other; a song cannot be scored, and there is no reward for those;
                or the model does not judge what is to be rewarded.
        """
        songs = self._songs(waveforms, prompts, metadata, lyrics, ref_audio, lengths)
        with as_guest(self.scorer.model.implementation):
            scores = self.scorer.score_on_device(songs, on_error="fail" if self.failed is None else "record")
        self.criterion.check(scores, self.scorer.model.class_name)
        device = waveforms[0].device if len(songs) else None
        values = [self._reward(score) for score in scores]
        details = {
            "musicality": torch.tensor([score.musicality for score in scores], device=device),
            "alignment": torch.tensor([score.alignment for score in scores], device=device),
            "errors": [score.error for score in scores],
        }
        return Rewards(torch.tensor(values, dtype=torch.float32, device=device), details)

    def _reward(self, score: "Score") -> float:
        return self.failed if score.error and self.failed is not None else self.criterion.value(score)

    def _songs(
        self,
        waveforms: Waveforms,
        prompts: Words,
        metadata: Sequence[Mapping[str, Any]] | None,
        lyrics: Words,
        ref_audio: "Sequence[Tensor | None] | Tensor | None",
        lengths: "Sequence[int] | Tensor | None",
    ) -> list[Song]:
        if isinstance(waveforms, Tensor) and waveforms.ndim not in (2, 3):
            raise UserError(
                f"The waveforms have shape {list(waveforms.shape)}.",
                "A batch is [songs, samples] or [songs, channels, samples]; one song is waveform[None].",
            )
        count = len(waveforms)
        if lyrics is None and metadata is not None:
            lyrics = [str(one.get("lyrics") or "") for one in _of_each(metadata, count, "metadata")]
        samples = None if lengths is None else [int(one) for one in _of_each(lengths, count, "lengths")]
        return [
            Song(
                wave if samples is None else wave[..., : samples[index]],
                text,
                words,
                reference,
                self.sample_rate,
            )
            for index, (wave, text, words, reference) in enumerate(
                zip(
                    waveforms,
                    _words(prompts, count, "prompts"),
                    _words(lyrics, count, "lyrics"),
                    [None] * count if ref_audio is None else _of_each(ref_audio, count, "references"),
                    strict=True,
                )
            )
        ]


def _words(words: Words, count: int, name: str) -> Sequence[str]:
    return [words or ""] * count if words is None or isinstance(words, str) else _of_each(words, count, name)


def _of_each(values: Any, count: int, name: str) -> Any:
    """Make sure that there is one for each song."""
    if len(values) != count:
        raise UserError(f"{count} songs, and {len(values)} {name}.", "Give one for each song.")
    return values
