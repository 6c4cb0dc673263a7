"""Whether Weights & Biases can record on this machine; told before Lightning is imported."""

import os

from cmi_bench.config import TrackingConfig
from cmi_bench.errors import UserError


def is_online(settings: TrackingConfig) -> bool:
    """Whether Weights & Biases is to be reached while the run goes on; `WANDB_MODE` is heeded."""
    return not settings.offline and os.environ.get("WANDB_MODE", "online") == "online"


def check_login() -> None:
    """Check that Weights & Biases has a key on this machine; nothing is asked of the user, nor sent.

    Raises:
        UserError: It has none.
    """
    import wandb

    quiet()
    if not wandb.login(prompt=False):
        raise UserError(
            "tracking=wandb has no key on this machine.",
            "Log in with `wandb login`, set WANDB_API_KEY, or record for later: tracking.offline=true",
        )


def quiet() -> None:
    """Keep wandb from writing into the run's own messages; call before it is used."""
    os.environ.setdefault("WANDB_SILENT", "true")
