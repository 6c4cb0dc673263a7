"""`cmi-bench serve`: a reward model behind HTTP, for training loops and other programs."""
