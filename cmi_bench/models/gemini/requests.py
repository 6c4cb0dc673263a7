"""Requests to Gemini and its answers: audio as FLAC, inline or uploaded, the form of the answer, reading it.

A call can end without scores: `ClipError`, `RetryError`, `RunOverError`.
"""

import contextlib
import hashlib
import io
import json
import logging
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np
import soundfile
from torch import Tensor

from cmi_bench.audio.decode import decode
from cmi_bench.errors import RunError
from cmi_bench.models.gemini.settings import JudgeSettings
from cmi_bench.types import Score
from cmi_bench.utils.files import file_digest

if TYPE_CHECKING:
    from google.genai import Client


log = logging.getLogger(__name__)


class ClipError(Exception):
    """This clip gets no scores, and another call would not help."""


class RunOverError(Exception):
    """The run is over; no further call is to be made."""


class RetryError(Exception):
    """A call that failed, and may succeed another time."""

    def __init__(
        self, reason: str, *, final: ClipError | RunError, wait: float | None = None, attempts: int | None = None
    ) -> None:
        """Take what is needed to decide about another attempt.

        Args:
            reason: What went wrong.
            final: What to raise if it never succeeds.
            wait: Seconds to wait that the service names; None where it names none.
            attempts: How many are enough, where that is fewer than in the settings.
        """
        super().__init__(reason)
        self.final = final
        self.wait = wait
        self.attempts = attempts


Audio: TypeAlias = str | Tensor
"""A file, or a mono waveform float32 [samples]."""
MIME_TYPE = "audio/flac"


class Recording(NamedTuple):
    """Audio in the form in which it is sent."""

    content: bytes
    """FLAC: mono, 16 bits."""
    seconds: float


def encode_flac(audio: Audio, *, sr: int, max_dur: float) -> Recording:
    """Return the first seconds of a file, or of a waveform at `sr`.

    Args:
        audio: The file or the waveform.
        sr: Hz of what is sent. The service works on one channel at a low rate, whatever it is given.
        max_dur: Seconds from the start.

    Raises:
        AudioError: The file cannot be read.
    """
    waveform = decode(audio, sr, max_dur) if isinstance(audio, str) else audio
    samples = np.asarray(waveform, dtype=np.float32)[: int(max_dur * sr)]
    file = io.BytesIO()
    # What is louder than full scale is clipped: 16 bits cannot hold it.
    soundfile.write(file, np.clip(samples, -1.0, 1.0), sr, format="FLAC", subtype="PCM_16")
    return Recording(file.getvalue(), len(samples) / sr)


def digest(audio: Audio) -> str:
    """Return the SHA-256 of a file's bytes, or of a waveform's samples.

    Raises:
        OSError: The file cannot be read.
    """
    if isinstance(audio, str):
        return file_digest(Path(audio))
    return hashlib.sha256(np.asarray(audio, dtype=np.float32).tobytes()).hexdigest()


WORST, BEST = 0.0, 100.0
"""The scale of both scores."""

Part = Mapping[str, Any]
"""A piece of a request, in the form of Google's API: text, audio, or the address of uploaded audio."""


class ClipRequest(NamedTuple):
    """A clip to judge, ready to be sent."""

    key: str
    """Content address of clip, instruction and settings."""
    clip: Recording
    reference: Recording | None
    text: str
    lyrics: str

    @property
    def recordings(self) -> tuple[Recording, ...]:
        """The audio, the clip first."""
        return (self.clip,) if self.reference is None else (self.clip, self.reference)

    @property
    def has_instruction(self) -> bool:
        """Whether there is anything to align with."""
        return bool(self.text or self.lyrics or self.reference)


def content(request: ClipRequest, audio: Sequence[Part]) -> dict[str, Any]:
    """Return the content of a request: the instruction first, then the clip.

    Args:
        request: The clip and its instruction.
        audio: The parts of its recordings, in their order.
    """
    parts: list[Part] = [{"text": _tagged("prompt", request.text)}, {"text": _tagged("lyrics", request.lyrics)}]
    if request.reference is not None:
        parts += [{"text": "The reference audio:"}, audio[1]]
    else:
        parts.append({"text": "There is no reference audio."})
    parts += [{"text": "The clip to judge:"}, audio[0]]
    return {"role": "user", "parts": parts}


def _tagged(name: str, text: str) -> str:
    return f"<{name}>\n{text}\n</{name}>" if text else f"There are no words under <{name}>."


def generation(settings: JudgeSettings, *, max_output_tokens: int, with_alignment: bool) -> dict[str, Any]:
    """Return the request's configuration: the judge's task, and the form of its answer.

    Its keys are those of `google.genai.types.GenerateContentConfig`, which the client makes of it.
    """
    scores = ("alignment", "musicality") if with_alignment else ("musicality",)
    names = ["remarks", *scores]
    score = {"type": "NUMBER", "minimum": WORST, "maximum": BEST}
    return {
        "system_instruction": settings.prompt,
        "temperature": settings.temperature,
        "max_output_tokens": max_output_tokens,
        "thinking_config": None if settings.thinking_budget is None else {"thinking_budget": settings.thinking_budget},
        "response_mime_type": "application/json",
        "response_schema": {
            "type": "OBJECT",
            "properties": {"remarks": {"type": "STRING"}} | dict.fromkeys(scores, score),
            "required": names,
            "property_ordering": names,
        },
        "automatic_function_calling": {"disable": True},
    }


MEGABYTE = 1e6
POLL = 0.2
"""Seconds between looks at an upload that Google is not done with."""


@contextlib.contextmanager
def audio_parts(
    client: "Client", recordings: Sequence[Recording], *, inline_mb: float, timeout: float
) -> Iterator[list[Part]]:
    """Give the parts of a request that stand for recordings, for as long as the request takes.

    Args:
        client: For uploads.
        recordings: The audio of a request.
        inline_mb: Recordings that are larger than this together are uploaded.
        timeout: Seconds after which an upload has failed.
    """
    if sum(len(one.content) for one in recordings) <= inline_mb * MEGABYTE:
        yield [{"inline_data": {"mime_type": MIME_TYPE, "data": one.content}} for one in recordings]
        return
    with contextlib.ExitStack() as stack:
        files = [_uploaded(client, one, timeout, stack) for one in recordings]
        yield [{"file_data": {"mime_type": MIME_TYPE, "file_uri": file.uri}} for file in files]


def _uploaded(client: "Client", recording: Recording, timeout: float, stack: contextlib.ExitStack) -> Any:
    file = client.files.upload(file=io.BytesIO(recording.content), config={"mime_type": MIME_TYPE})
    stack.callback(_remove, client, str(file.name))
    deadline = time.monotonic() + timeout
    while _state(file) == "PROCESSING":
        if time.monotonic() > deadline:
            reason = f"Google was not done with the uploaded audio after {timeout:.0f} s"
            raise RetryError(reason, final=ClipError(reason))
        time.sleep(min(POLL, timeout / 10))
        file = client.files.get(name=str(file.name))
    if _state(file) == "FAILED":
        raise ClipError("Google could not read the uploaded audio")
    return file


def _state(file: Any) -> str:
    return "" if file.state is None else str(file.state.value)


def _remove(client: "Client", name: str) -> None:
    try:
        client.files.delete(name=name)
    except Exception as error:  # an answer is not given up for this: Google removes uploads itself after two days
        log.debug("An uploaded file was not removed (%s).", type(error).__name__)


RawAnswer = Mapping[str, Any]
"""`GenerateContentResponse` as plain values, without the HTTP headers."""

NEUTRAL = (WORST + BEST) / 2
"""Alignment of a clip without prompt, lyrics and reference: there is nothing it could miss."""
REFUSALS = frozenset(
    ("SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "LANGUAGE", "ESCALATION", "MODEL_ARMOR")
)
"""Ways to finish that mean: this is not answered."""
_SHOWN = 80
"""Characters of an answer that are shown where it cannot be read."""


def raw_answer(response: Any) -> RawAnswer:
    """Return the client's response as plain values."""
    kept: RawAnswer = response.model_dump(
        mode="json", exclude_none=True, exclude={"sdk_http_response", "parsed", "automatic_function_calling_history"}
    )
    return kept


def read_answer(raw: RawAnswer, *, with_alignment: bool) -> Score:
    """Return the scores in an answer, 0 to 100.

    Args:
        raw: The answer.
        with_alignment: Whether the answer has an alignment; if not, it is `NEUTRAL`.

    Raises:
        ClipError: The service refuses to judge this clip.
        RetryError: The answer is cut off, empty, or not of the requested form.
    """
    blocked = raw.get("prompt_feedback", {}).get("block_reason")
    if blocked:
        raise ClipError(f"Gemini blocked the request ({blocked})")
    candidate: RawAnswer = next(iter(raw.get("candidates") or ()), {})
    finish = str(candidate.get("finish_reason", "no reason given"))
    if finish in REFUSALS:
        raise ClipError(f"Gemini blocked its answer ({finish})")
    if finish == "MAX_TOKENS":
        reason = "the answer was cut off at model.calls.max_output_tokens"
        raise RetryError(reason, final=ClipError(reason))
    text = _text(candidate)
    try:
        value = json.loads(text)
        musicality = _score(value["musicality"])
        alignment = _score(value["alignment"]) if with_alignment else NEUTRAL
    except (ValueError, TypeError, KeyError) as error:
        shown = repr(text[:_SHOWN]) if text else "it is empty"
        reason = f"the answer cannot be read ({type(error).__name__}; finished: {finish}): {shown}"
        raise RetryError(reason, final=ClipError(reason)) from None
    return Score(alignment=alignment, musicality=musicality)


def _text(candidate: Mapping[str, Any]) -> str:
    parts = candidate.get("content", {}).get("parts") or ()
    return "".join(part.get("text", "") for part in parts if not part.get("thought"))


def _score(value: object) -> float:
    """Return a score that is on the scale."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(value)
    if not (math.isfinite(value) and WORST <= value <= BEST):
        raise ValueError(value)
    return float(value)
