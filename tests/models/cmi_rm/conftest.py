"""The parity bundle and models over it."""

import json
import shutil
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest

from cmi_bench.models.base import BenchmarkBatchInput
from cmi_bench.models.cmi_rm import CmiRM

BUNDLE = Path(__file__).parents[2] / "data" / "parity" / "cmi_rm"


@pytest.fixture(scope="session")
def bundle() -> Path:
    return BUNDLE


@pytest.fixture(scope="session")
def expected() -> dict[str, Any]:
    return json.loads((BUNDLE / "expected.json").read_text())


@pytest.fixture(scope="session")
def load() -> Callable[..., CmiRM]:
    """Return models of the bundle by checkpoint name and options, each loaded once."""
    return lru_cache(maxsize=None)(lambda name, **options: CmiRM(str(BUNDLE / name), **options))


@pytest.fixture(scope="session")
def inputs(expected) -> list[BenchmarkBatchInput]:
    """The bundle's items, as paths."""
    return [
        BenchmarkBatchInput(
            audio=str(BUNDLE / "audio" / item["audio"]),
            text=item["text"],
            lyrics=item["lyrics"],
            ref_audio=str(BUNDLE / "audio" / item["ref_audio"]) if item["ref_audio"] else None,
            clip_id=f"{index}:a",
        )
        for index, item in enumerate(expected["items"])
    ]


@pytest.fixture
def bundle_copy(tmp_path) -> Callable[[str], Path]:
    """Return a folder with a checkpoint of that name and its base, to be changed by the test."""

    def copy(name: str) -> Path:
        for folder in (name, "muq-mulan", "muq", "xlm-roberta"):
            shutil.copytree(BUNDLE / folder, tmp_path / folder)
        return tmp_path

    return copy
