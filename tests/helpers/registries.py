"""Datasets and metrics that are registered from outside the package, and gone again afterwards."""

from collections.abc import Iterator
from contextlib import contextmanager

from cmi_bench.data import datasets
from cmi_bench.evaluation import metrics


@contextmanager
def restored_registries() -> Iterator[None]:
    """Forget at the end what was registered inside."""
    kept = [(registry, dict(registry)) for registry in (datasets._datasets, metrics._metrics)]
    try:
        yield
    finally:
        for registry, contents in kept:
            registry.clear()
            registry.update(contents)
