"""Which sequence is shortened how: the `downsample` section of CMI-RM's `config.yaml`."""

from dataclasses import dataclass

from cmi_bench.models.cmi_rm.config_file import Section
from cmi_bench.suggest import did_you_mean

KINDS = {
    "none": "none",
    "mean": "mean",
    "meanpool": "mean",
    "meanpool+mlp": "mean_mlp",
    "mean+mlp": "mean_mlp",
    "baseline1": "mean_mlp",
    "b1": "mean_mlp",
    "conv": "conv",
    "baseline2simple": "conv",
    "b2s": "conv",
    "conv*2": "two_conv",
    "baseline2": "two_conv",
    "b2": "two_conv",
    "gluconv*2+pw": "two_glu_conv",
    "baseline3": "two_glu_conv",
    "b3": "two_glu_conv",
}
"""What the checkpoints' configurations call a downsampler, and what it is called here."""

KEYS = ("kind", "factor", "mlp_ratio", "pre_mlp", "kernel_size", "stage", "use_layernorm", "dropout")
"""`dropout` matters in training only."""


@dataclass(frozen=True)
class DownsampleConfig:
    """How a sequence is shortened; a kind ignores what it has no use for."""

    kind: str = "none"
    """One of the values of `KINDS`."""
    factor: int = 1
    """Positions that become one (in each stage of `conv`)."""
    mlp_ratio: float = 2.0
    """Hidden width of the MLP over the sequence's."""
    pre_mlp: bool = False
    """The MLP comes before the mean instead of after it."""
    kernel_size: int = 5
    """Odd, of the depthwise convolutions."""
    stage: int = 1
    """How often `conv` applies its block."""
    use_layernorm: bool = True
    """Normalise after a depthwise convolution."""


@dataclass(frozen=True)
class Downsampling:
    """The choice for each of the sequences."""

    eval: DownsampleConfig
    """Frames of the clip that is judged."""
    ref: DownsampleConfig
    """Frames of the reference."""
    text: DownsampleConfig
    """Tokens of the text, and of the lyrics (with weights of their own)."""


def read_downsampling(model: Section) -> Downsampling:
    """Read the choices; without the section nothing is shortened.

    Raises:
        UserError: A name that is not under `configs`, an unknown kind or key; the message names it.
    """
    if model.values.get("downsample") is None:
        return Downsampling(DownsampleConfig(), DownsampleConfig(), DownsampleConfig())
    chosen = model.section("downsample")
    eval_name = chosen.get("eval", str, "none")
    return Downsampling(
        eval=_named(chosen, "eval", eval_name),
        ref=_named(chosen, "ref", chosen.get("ref", str, eval_name)),
        text=_named(chosen, "text", chosen.get("text", str, "none")),
    )


def _named(chosen: Section, key: str, name: str) -> DownsampleConfig:
    configs = chosen.section("configs")
    if name == "none" and name not in configs.values:
        return DownsampleConfig()
    if name not in configs.values:
        raise chosen.error(key, f"names {name!r}, which is not under configs.", did_you_mean(name, configs.values))
    entry = configs.section(name)
    entry.only(KEYS)
    kernel_size = entry.size("kernel_size", 5)
    if kernel_size % 2 == 0:
        raise entry.error("kernel_size", f"is {kernel_size}; expected an odd number.")
    return DownsampleConfig(
        kind=KINDS[entry.choice("kind", tuple(KINDS), fold_case=True)],
        factor=entry.size("factor", 1),
        mlp_ratio=entry.get("mlp_ratio", float, 2.0),
        pre_mlp=entry.get("pre_mlp", bool, False),
        kernel_size=kernel_size,
        stage=entry.size("stage", 1),
        use_layernorm=entry.get("use_layernorm", bool, True),
    )
