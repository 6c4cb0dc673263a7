"""Read a `ClapModel` of `transformers`, strictly."""

import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

import torch
from safetensors import SafetensorError
from transformers import ClapFeatureExtractor, ClapModel
from transformers.utils import logging as hf_logging

from cmi_bench.errors import UserError
from cmi_bench.models.cmi_rm.tokenizer import TextTokenizer
from cmi_bench.models.hub import ModelFolder
from cmi_bench.models.parts import ENCODER_CONFIG, PREPROCESSOR, TOKENIZER
from cmi_bench.models.strict import WHOLE, refuse

NOT_USED = ("*.num_batches_tracked", "*.position_ids", "*.token_type_ids", "*.relative_position_index")
"""Constants that older files hold."""


@dataclass(frozen=True)
class LoadedClap:
    """The network, and what prepares its inputs."""

    network: ClapModel
    """On the CPU, in float32, every tensor from the file."""
    extractor: ClapFeatureExtractor
    tokenizer: TextTokenizer
    files: tuple[Path, ...]
    """Whatever makes the scores what they are: weights, configurations, tokenizer."""


def load_clap(found: ModelFolder) -> LoadedClap:
    """Read the model in a folder.

    Raises:
        UserError: A file cannot be read, or a tensor is missing, unexpected or of another shape.
    """
    try:
        with _quietly():
            network, info = ClapModel.from_pretrained(
                found.folder, dtype=torch.float32, local_files_only=True, output_loading_info=True
            )
            extractor = ClapFeatureExtractor.from_pretrained(found.folder, local_files_only=True)
    except (OSError, RuntimeError, ValueError, KeyError, SafetensorError, pickle.UnpicklingError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise UserError(f"Cannot read CLAP in {found.folder}: {reason}", "Get the model again, all of it.") from error
    refuse("missing", info["missing_keys"], [found.weights], WHOLE)
    refuse("misshapen", (str(one[0]) for one in info["mismatched_keys"]), [found.weights], WHOLE)
    unexpected = [name for name in info["unexpected_keys"] if not any(fnmatchcase(name, one) for one in NOT_USED)]
    refuse("unexpected", unexpected, [found.weights], "Does the configuration belong to these weights?")
    if extractor.padding != "repeatpad":
        raise UserError(f"{found.folder / PREPROCESSOR}: padding is {extractor.padding!r}; expected 'repeatpad'.")
    text = network.config.text_config
    return LoadedClap(
        network=network.eval().requires_grad_(False),
        extractor=extractor,
        tokenizer=TextTokenizer(found.folder / TOKENIZER, text.max_position_embeddings - text.pad_token_id - 1),
        files=(found.weights, *(found.folder / name for name in (ENCODER_CONFIG, PREPROCESSOR, TOKENIZER))),
    )


@contextmanager
def _quietly() -> Iterator[None]:
    """Keep the library's bars and warnings off the screen; what they say is checked here."""
    verbosity, bars = hf_logging.get_verbosity(), hf_logging.is_progress_bar_enabled()
    hf_logging.set_verbosity_error()
    hf_logging.disable_progress_bar()
    try:
        yield
    finally:
        hf_logging.set_verbosity(verbosity)
        if bars:
            hf_logging.enable_progress_bar()
