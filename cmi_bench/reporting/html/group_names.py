"""The groups' names in words; in the files they are those of the public evaluator."""

from cmi_bench.evaluation.groups import INSTRUMENTAL, NO_REF, REF, VOCAL
from cmi_bench.evaluation.records import DetailRecord

DURATION = "duration_bin"
KEYS = {
    "month": "month",
    "modality": "instruction",
    "confidence": "annotator's confidence",
    "ref_subset": "reference audio",
    "modality_type": "lyrics",
    DURATION: "clip length",
}
VALUES = {
    ("ref_subset", NO_REF): "without",
    ("ref_subset", REF): "with",
    ("modality_type", INSTRUMENTAL): "without",
    ("modality_type", VOCAL): "with",
}
CATEGORIES = {NO_REF: ", no reference", REF: ", reference"}


def key_name(record: DetailRecord) -> str:
    """Return what the group's rows have in common."""
    return KEYS.get(record.group_key, record.group_key)


def value_name(record: DetailRecord) -> str:
    """Return which of the groups it is."""
    value = VALUES.get((record.group_key, record.group_value), record.group_value)
    unit = " s" if record.group_key == DURATION else ""
    return value + unit + CATEGORIES.get(record.ref_category or "", "")
