"""The curves of a training: `history.jsonl`, a line for each step and for each validation."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

from cmi_bench.utils.files import write_text_atomic, writing_to

HISTORY = "history.jsonl"
"""In a training's folder."""
ELSEWHERE = "choose another folder (hydra.run.dir=FOLDER)"
"""What one can do where a training's folder takes no more."""
TellCurves = Callable[[int, Mapping[str, float]], None]
"""Takes points of curves: the number of steps done, and values by name."""


class History:
    """The curves of a training as a file."""

    def __init__(self, folder: Path, tell: TellCurves = lambda step, values: None) -> None:
        """Say where.

        Args:
            folder: The training's.
            tell: Is told each line too.
        """
        self.file = folder / HISTORY
        self.tell = tell

    def begin(self, step: int) -> None:
        """Take away what is later than the step that the training goes on from."""
        lines = [line for line in read_history(self.file) if line["step"] <= step] if step else []
        with writing_to(self.file.parent, instead=ELSEWHERE):
            write_text_atomic(self.file, "".join(json.dumps(line) + "\n" for line in lines))

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Append a line.

        Raises:
            RunError: The disk is full.
        """
        with writing_to(self.file.parent, instead=ELSEWHERE), self.file.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, **values}) + "\n")
        self.tell(step, values)


def read_history(file: Path) -> list[dict[str, float]]:
    """Return the lines of a history; a last one that was cut off is left out."""
    if not file.exists():
        return []
    text = file.read_text(encoding="utf-8")
    return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]
