"""One question to the judge: the clip with all it was made from, and the form of the answer."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from cmi_bench.models.gemini.audio import Recording
from cmi_bench.models.gemini.settings import JudgeSettings

WORST, BEST = 0.0, 100.0
"""The scale of both scores."""

Part = Mapping[str, Any]
"""A piece of a request, in the words of Google's API: text, audio, or the address of uploaded audio."""


class Question(NamedTuple):
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


def content(question: Question, audio: Sequence[Part]) -> dict[str, Any]:
    """Return what the judge is given: the instruction first, then the clip.

    Args:
        question: What is asked.
        audio: The parts of its recordings, in their order.
    """
    parts: list[Part] = [{"text": _tagged("prompt", question.text)}, {"text": _tagged("lyrics", question.lyrics)}]
    if question.reference is not None:
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
