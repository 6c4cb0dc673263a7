"""From rows to the clips a model is asked about."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cmi_bench.data.rows import Row


@dataclass(frozen=True)
class Clip:
    """One side of one row: a piece of audio to judge, with its instruction."""

    clip_id: str
    """`<line of the row>:<a or b>`, unique in a run."""
    audio: Path
    text: str
    lyrics: str
    ref_audio: Path | None

    @property
    def audio_files(self) -> tuple[Path, ...]:
        """The files that must be there to score this clip."""
        return (self.audio,) if self.ref_audio is None else (self.audio, self.ref_audio)

    def __str__(self) -> str:
        line, side = self.clip_id.split(":")
        return f"row {line}, clip {side.upper()} ({self.audio})"


def clip_id(row: Row, side: str) -> str:
    """Name one side ("a" or "b") of a row."""
    return f"{row.index}:{side}"


def clips_of(rows: Iterable[Row], root: Path) -> list[Clip]:
    """List what there is to score, A before B, in the rows' order.

    Args:
        rows: The rows of the run.
        root: Data root that the rows' audio paths are relative to.
    """
    return [
        Clip(
            clip_id=clip_id(row, side),
            audio=root / audio,
            text=row.prompt,
            lyrics=row.lyrics,
            ref_audio=root / row.ref_audio if row.ref_audio else None,
        )
        for row in rows
        for side, audio in (("a", row.audio_a), ("b", row.audio_b))
        if audio is not None
    ]
