"""Talks to a reward server (`cmi-bench serve`); needs neither torch nor the models."""
