"""The command `cmi-bench`: scoring and ranking songs of one's own."""
