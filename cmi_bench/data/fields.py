"""The JSONL format's own field names, in one place: here is the border between the file and the code.

The names are those of the public CMI-RewardBench files; other tools read them, so they stay as they
are in the files whatever the code calls the same thing.
"""

from cmi_bench.types import Aspect

SOURCE = "source"
SPLIT = "split"
AUDIO_A = "audio-path"
AUDIO_B = "audio2"
REF_AUDIO = "ref-audio-path"
PROMPT = "prompt"
LYRICS = "lyrics"
MODALITY = "modality"
SYSTEM_A = "model_a"
"""Which system made clip A, or the only clip; also a value of preferences."""
SYSTEM_B = "model_b"

MUSICALITY_MOS = "musicality"
ALIGNMENT_MOS = "text-music alignment"
PREFERENCE = "preference"
PREFERENCE_MUSICALITY = "preference-musicality"
PREFERENCE_ALIGNMENT = "preference-alignment"
CONFIDENCE_MUSICALITY = "confidence_preference-musicality"
CONFIDENCE_ALIGNMENT = "confidence_preference-alignment"

BENCHMARK_DATASET = "benchmark_dataset"
PREDICTED_MUSICALITY = "predicted_musicality"
PREDICTED_ALIGNMENT = "predicted_text-music alignment"
SIDE_B = "_b"
"""Suffix of the predicted scores of a pair's second clip."""
SCORE_FIELD = {Aspect.MUSICALITY: PREDICTED_MUSICALITY, Aspect.ALIGNMENT: PREDICTED_ALIGNMENT}
"""Where a results row keeps clip A's score (clip B's: with `SIDE_B` appended)."""
PREDICTED_PREFERENCE = "predicted_preference"
PREDICTED_PREFERENCE_MUSICALITY = "predicted_preference-musicality"
PREDICTED_PREFERENCE_ALIGNMENT = "predicted_preference-alignment"
VALID_A = "inference_valid_a"
VALID_B = "inference_valid_b"
INFERENCE_ERROR = "inference_error"

OUTPUT_PREFIXES = ("predicted_", "inference_")


def is_own(field: str) -> bool:
    """Tell a row's own fields from those that a run adds to it."""
    return field != BENCHMARK_DATASET and not field.startswith(OUTPUT_PREFIXES)
