"""SongEval's reward model behind the benchmark's contract."""

from collections.abc import Sequence
from copy import deepcopy
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

import cmi_bench
from cmi_bench.content import content_key
from cmi_bench.errors import NotFetchedError, UserError
from cmi_bench.models.audio_rating import AudioRating
from cmi_bench.models.cmi_rm.config import read_muq_config
from cmi_bench.models.cmi_rm.fast.prepare import prepare
from cmi_bench.models.cmi_rm.fast.transfer import to_device
from cmi_bench.models.cmi_rm.mel import MIN_SAMPLES, SAMPLE_RATE
from cmi_bench.models.cmi_rm.muq import Muq
from cmi_bench.models.cmi_rm.precision import arithmetic, checked_precision, warn_if_slow
from cmi_bench.models.cmi_rm.sequences import equal_batches_of, in_batches
from cmi_bench.models.hub import EITHER_WEIGHTS, WEIGHTS, CheckpointFiles, find_checkpoint, find_model
from cmi_bench.models.parts import ENCODER_CONFIG
from cmi_bench.models.songeval.encoder import load_muq
from cmi_bench.models.songeval.head import RATINGS, SongEvalHead, read_head_config
from cmi_bench.models.strict import load_strictly

REPOSITORY = "https://github.com/ASLP-lab/SongEval"
BATCH_SECONDS = 240
"""Audio encoded at once, at most, unless one song is longer."""


class SongEvalRM(AudioRating):
    """Five ratings of a song, 1 to 5, each song in one piece: the first `max_dur` seconds of it."""

    ratings: ClassVar[tuple[str, ...]] = RATINGS
    min_samples = MIN_SAMPLES

    def __init__(
        self,
        checkpoint: str,
        muq: str,
        hidden_state: int,
        dimension: str,
        device: str | torch.device = "cpu",
        precision: str = "32",
    ) -> None:
        """Load the model.

        Args:
            checkpoint: A copy of SongEval's repository, or the weights' file, with `config.yaml` one folder up.
            muq: MuQ's folder or hub id.
            hidden_state: Which of MuQ's the head reads.
            dimension: Which rating is the musicality column, or "mean".
            device: Torch device.
            precision: "32" or "bf16".

        Raises:
            UserError: A file is missing or does not fit, or an option is not understood.
        """
        super().__init__(dimension, "dimension")
        self.precision = checked_precision(precision)
        self.hidden_state = hidden_state
        files = find_songeval(checkpoint)
        encoder = find_model(muq, [ENCODER_CONFIG], weights=EITHER_WEIGHTS)
        self.files = (*files, encoder.folder / ENCODER_CONFIG, encoder.weights)
        sizes, muq_sizes = read_head_config(files.config), read_muq_config(encoder.folder / ENCODER_CONFIG)
        if sizes.dim != muq_sizes.encoder_dim:
            raise UserError(
                f"{files.config}: generator.in_features is {sizes.dim}, but the frames of {muq} are"
                f" {muq_sizes.encoder_dim} wide.",
                "Use the MuQ that the head was trained on.",
            )
        with torch.device("meta"):
            self._head = SongEvalHead(sizes).eval()
        load_strictly(self._head, files.weights)
        self._muq = load_muq(muq_sizes, encoder.weights, hidden_state)
        self.to(device)

    def to(self, device: str | torch.device) -> "SongEvalRM":
        """Move the network to a torch device."""
        self.device = torch.device(device)
        warn_if_slow(self.precision, self.device)
        self.__dict__.pop("encoder", None)
        self.head = deepcopy(self._head).to(self.device)
        return self

    @cached_property
    def encoder(self) -> Muq:
        """MuQ on the device, made when it is first called for: stored ratings need none."""
        return prepare(self._muq, self.device, self.precision)

    @property
    def sr(self) -> int:
        """Sampling rate in Hz of the waveforms the model takes."""
        return SAMPLE_RATE

    @cached_property
    def audio_identity(self) -> str:
        """What settles the ratings besides the audio and its view."""
        return content_key(
            model="songeval",
            files=self.digest,
            hidden_state=self.hidden_state,
            precision=self.precision,
            code=cmi_bench.__version__,
        )

    def embed_heard(self, waveforms: Sequence[Tensor]) -> list[Tensor]:
        """Rate songs [samples], each by itself: of each float32 [1, 5] on the CPU."""
        lengths = [len(waveform) for waveform in waveforms]
        at_once = max(1, BATCH_SECONDS * self.sr // max(lengths))

        def ratings(batch: Sequence[int]) -> Tensor:
            songs = to_device(torch.stack([waveforms[index] for index in batch]), self.device)
            rated: Tensor = self.head(self.encoder(songs))
            return rated.float().cpu()[:, None]

        with arithmetic(self.precision, self.device):
            return in_batches(equal_batches_of(lengths, at_once), ratings)


def find_songeval(checkpoint: str) -> CheckpointFiles:
    """Find the head's weights and its `config.yaml`.

    Args:
        checkpoint: The weights' file, its folder, or a folder that has it under `ckpt/`, as SongEval's repository.

    Raises:
        UserError: They are not there.
    """
    path = Path(checkpoint).expanduser()
    weights = next((one for one in (path, path / "ckpt" / WEIGHTS, path / WEIGHTS) if one.is_file()), None)
    if weights is None:
        raise NotFetchedError(
            f"SongEval's weights are not at {checkpoint}.", f"git clone {REPOSITORY}, and name the copy as checkpoint."
        )
    return find_checkpoint(str(weights))
