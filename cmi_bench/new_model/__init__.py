"""The beginnings of a model of one's own: adapter, configuration and test."""
