"""CMI-RM: the reward model of CMI-RewardBench, natively."""

from cmi_bench.models.cmi_rm.model import CmiRM

__all__ = ["CmiRM"]
