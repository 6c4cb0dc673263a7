"""`cmi-bench mirex`: predictions for MIREX 2026, Music Evaluation via CMI-RewardBench."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from cmi_bench.api.ranking import Criterion
from cmi_bench.cli.inputs import Record, RequestedSong, check_columns, read_records
from cmi_bench.cli.options import ModelOptions
from cmi_bench.cli.score import exit_code, score_songs
from cmi_bench.config import ProtocolName
from cmi_bench.data.fields import Preference
from cmi_bench.errors import UserError
from cmi_bench.evaluation.protocols import preferred_side
from cmi_bench.types import Clip, Score
from cmi_bench.utils.files import write_text_atomic, writing_to

SAMPLE_ID, PROMPT, AUDIO_A, AUDIO_B, PREFERRED = "sample_id", "prompt", "audio_A", "audio_B", "preferred_candidate"
LETTERS = {Preference.A: "A", Preference.B: "B"}
URLS = ("http://", "https://")


@dataclass(frozen=True)
class _Pair:
    sample_id: str | int
    first: RequestedSong
    second: RequestedSong


@dataclass(frozen=True)
class _Prediction:
    pair: _Pair
    value_a: float
    """What is compared; NaN where the clip could not be scored."""
    value_b: float

    @property
    def preferred(self) -> str | None:
        """The higher one's letter; of equal ones B, as in the benchmark's own files; None where one is missing."""
        side = preferred_side(self.value_a, self.value_b, protocol=ProtocolName.paper)
        return None if side is None else LETTERS[side]


def mirex(
    requests: Path, options: ModelOptions, *, root: Path | None, out: Path | None, rule: Criterion, with_scores: bool
) -> int:
    """Score both candidates of each pair, write which is preferred, and return the exit code.

    Raises:
        UserError: The file is not right, or the model does not judge what is to be compared.
    """
    pairs = _read_pairs(requests, root or requests.parent)
    songs = [song for pair in pairs for song in (pair.first, pair.second)]
    scored = score_songs(songs, options)
    rule.check(scored.scores, f"The model {scored.model}")
    values = [math.nan if score.error else rule.value(score) for score in scored.scores]
    predictions = [_Prediction(pair, a, b) for pair, a, b in zip(pairs, values[::2], values[1::2], strict=True)]
    text = "".join(json.dumps(_line(one, with_scores=with_scores), ensure_ascii=False) + "\n" for one in predictions)
    if out is None:
        typer.echo(text, nl=False)
    else:
        with writing_to(out.parent, instead="give another --out"):
            write_text_atomic(out, text)
    _say_what_is_special(predictions, songs, scored.scores)
    return exit_code([score.error for score in scored.scores])


def _read_pairs(path: Path, root: Path) -> list[_Pair]:
    records = read_records(path)
    check_columns(records, path, SAMPLE_ID, AUDIO_A, AUDIO_B)
    pairs = [_pair(number, record, root) for number, record in enumerate(records)]
    seen: dict[str | int, str] = {}
    for pair, record in zip(pairs, records, strict=True):
        if pair.sample_id in seen:
            raise UserError(
                f"{record.where}: sample_id {pair.sample_id!r} is that of {seen[pair.sample_id]} as well.",
                "Each pair needs its own.",
            )
        seen[pair.sample_id] = record.where
    return pairs


def _pair(number: int, record: Record, root: Path) -> _Pair:
    sample_id = record.fields.get(SAMPLE_ID)
    if not isinstance(sample_id, str | int) or sample_id == "":
        raise UserError(f"{record.where}: sample_id is {sample_id!r}.", "It must be text or a whole number.")
    return _Pair(
        sample_id,
        first=_candidate(f"{2 * number + 1}:a", record, AUDIO_A, root),
        second=_candidate(f"{2 * number + 2}:a", record, AUDIO_B, root),
    )


def _candidate(clip_id: str, record: Record, field: str, root: Path) -> RequestedSong:
    audio = record.needed(field)
    if audio.startswith(URLS):
        raise UserError(f"{record.where}: {field} is an address ({audio}).", "Download the audio and give paths.")
    return RequestedSong(Clip(clip_id, root / audio, record.text(PROMPT)), name=audio)


def _line(prediction: _Prediction, *, with_scores: bool) -> dict[str, Any]:
    line: dict[str, Any] = {SAMPLE_ID: prediction.pair.sample_id, PREFERRED: prediction.preferred}
    if with_scores:
        scores = {"score_A": prediction.value_a, "score_B": prediction.value_b}
        line |= {name: None if math.isnan(value) else value for name, value in scores.items()}
    return line


def _say_what_is_special(
    predictions: Sequence[_Prediction], songs: Sequence[RequestedSong], scores: Sequence[Score]
) -> None:
    """Tell of ties and failures on stderr: the file has no place for them."""
    for song, score in zip(songs, scores, strict=True):
        if score.error:
            typer.echo(f"{song.name}: {score.error}", err=True)
    missing = sum(one.preferred is None for one in predictions)
    if missing:
        typer.echo(f"{missing} of {len(predictions)} pairs have no preference (null): a song failed.", err=True)
    tied = sum(one.value_a == one.value_b for one in predictions)
    if tied:
        typer.echo(f"{tied} of {len(predictions)} pairs have equal scores; they are given as B.", err=True)
