"""Whether a reward model keeps to the contract: the same score for the same clip, whatever else happens."""

from cmi_bench.conformance.run import assert_conforms, check_model

__all__ = ["assert_conforms", "check_model"]
