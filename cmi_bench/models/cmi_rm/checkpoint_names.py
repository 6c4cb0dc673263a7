"""What a tensor is called in the checkpoints, and which of them inference has no use for."""

from fnmatch import fnmatchcase

PREFIXES = {
    "audio_tower.muq.": "audio_module.model.model.",
    "audio_tower.": "audio_module.",
    "text_tower.": "text_module.",
    "scorer.": "",
}
"""The network's names to CMI-RM's; the first match counts."""

BASE_PREFIXES = {"mulan.audio.": "audio_module.", "mulan.text.": "text_module."}
"""MuQ-MuLan's names of the encoders to CMI-RM's."""

NOT_USED = (
    "*.num_batches_tracked",
    # MuQ's and MuQ-MuLan's training targets and pooling
    "audio_module.aggregator.*",
    "audio_module.model.model.cls_token",
    "audio_module.model.model.conformer.pos_conv_embed.*",
    "audio_module.model.model.linear.*",
    "audio_module.model.model.quantizer_*",
    "audio_module.model.model.rvq.*",
    "text_module.model.pooler.*",
    "mulan.audio_to_latents.*",
    "mulan.text_to_latents.*",
    "mulan.contrast.*",
    # CMI-RM's training: dropped modalities, other heads
    "null_*_embedding",
    "single_score_projector.*",
    "alignment_head.*",
    "quality_head.*",
)
"""Patterns of tensors that may be in a checkpoint and are not loaded."""


def checkpoint_name(name: str) -> str:
    """Return CMI-RM's name of one of the network's tensors.

    >>> checkpoint_name("audio_tower.muq.conv.linear.weight")
    'audio_module.model.model.conv.linear.weight'
    >>> checkpoint_name("scorer.score_projector.0.bias")
    'score_projector.0.bias'
    """
    prefix = next(prefix for prefix in PREFIXES if name.startswith(prefix))
    return PREFIXES[prefix] + name.removeprefix(prefix)


def name_in_base(name: str) -> str:
    """Return CMI-RM's name of one of MuQ-MuLan's tensors; a name without a counterpart stays.

    >>> name_in_base("mulan.audio.proj.bias")
    'audio_module.proj.bias'
    """
    for prefix, ours in BASE_PREFIXES.items():
        if name.startswith(prefix):
            return ours + name.removeprefix(prefix)
    return name


def is_encoder(name: str) -> bool:
    """Tell whether CMI-RM's name is one of an encoder tensor, which MuQ-MuLan has too."""
    return name.startswith(tuple(BASE_PREFIXES.values()))


def is_not_used(name: str) -> bool:
    """Tell whether CMI-RM's name is one that inference has no use for."""
    return any(fnmatchcase(name, pattern) for pattern in NOT_USED)
