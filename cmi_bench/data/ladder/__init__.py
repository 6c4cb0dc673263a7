"""The sanity ladder: clean pieces of the mini benchmark's generator, each spoilt by known amounts in known ways."""
