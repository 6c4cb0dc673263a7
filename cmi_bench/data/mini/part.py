"""What each of the four datasets hands to the build."""

from typing import Any, NamedTuple

from cmi_bench.data.mini.clips import ClipPlan


class Part(NamedTuple):
    """One dataset of the mini benchmark."""

    rows: list[dict[str, Any]]
    """In the row format of the public `all_test.jsonl`."""
    clips: list[ClipPlan]
    """Each file the rows name, once."""


PAM_ID, MUSIC_EVAL_ID, MUSIC_ARENA_ID, CMI_PREF_ID = 1, 2, 3, 4
"""First ids of the datasets' random streams."""
WISH, LABELS, FAULTS, AUDIO = 0, 1, 2, 3
"""Second ids: what a dataset draws its wishes, labels, faults and audio from."""
