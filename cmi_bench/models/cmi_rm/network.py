"""CMI-RM as one network: two encoders and a head."""

from pathlib import Path

from torch import nn

from cmi_bench.errors import UserError
from cmi_bench.models.cmi_rm.audio_tower import AudioTower
from cmi_bench.models.cmi_rm.config import MulanConfig, MuqConfig, RewardConfig, TransformerConfig
from cmi_bench.models.cmi_rm.scorer import Scorer
from cmi_bench.models.cmi_rm.text_tower import TextTower


class Network(nn.Module):
    """The three parts; each is called for itself, so that encodings can be shared and kept."""

    def __init__(self, reward: RewardConfig, mulan: MulanConfig, muq: MuqConfig, xlmr_config: Path) -> None:
        """Build the network; `xlmr_config` is XLM-RoBERTa's `config.json`.

        Raises:
            UserError: Sizes in two of the files do not fit each other.
        """
        super().__init__()
        _check_width(reward, mulan, "audio_transformer", mulan.audio_transformer)
        _check_width(reward, mulan, "text_transformer", mulan.text_transformer)
        self.audio_tower = AudioTower(mulan, muq)
        self.text_tower = TextTower(mulan, xlmr_config)
        self.scorer = Scorer(reward)


def _check_width(reward: RewardConfig, mulan: MulanConfig, name: str, tower: TransformerConfig) -> None:
    dim = reward.prompt_transformer.dim
    if tower.dim != dim:
        raise UserError(
            f"{mulan.file}: {name}.dim is {tower.dim}, but {reward.file}: model.dim is {dim}.",
            "Use the MuQ-MuLan that the checkpoint was trained on.",
        )
