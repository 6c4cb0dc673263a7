"""Build the documentation site: `make docs`.

The site has the repository's own Markdown files at the paths they have there, so that a link that works on a code
host works on the site. Only a `README.md` has another name, `index.md`. Pages of the Python interface are made of
docstrings.
"""

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

PROJECT = Path(__file__).resolve().parents[1]
CONFIG = PROJECT / "docs" / "site.yml"
PAGES = ("README.md", "CHANGELOG.md", "data/README.md", "docs/**/*.md")
FILES = ("docs/images/**/*",)
REFERENCE = {
    "cmi_bench": "Score, rank and evaluate from Python",
    "cmi_bench.client": "Ask a reward server",
    "cmi_bench.client.trl": "A reward server in TRL",
    "cmi_bench.models.base": "What a model is",
    "cmi_bench.data.datasets": "Datasets and tasks",
    "cmi_bench.evaluation.metrics": "Metrics",
    "cmi_bench.errors": "Errors",
}
"""Public modules, and what their pages are called."""


def assemble(target: Path) -> list[str]:
    """Copy the pages and what they show into a folder, write those of the reference, and return the pages' paths."""
    pages = []
    for source in _found(PAGES):
        name = source.relative_to(PROJECT).as_posix().replace("README.md", "index.md")
        _write(target / name, re.sub(r"(\]\([^)\s]*)README\.md", r"\1index.md", source.read_text(encoding="utf-8")))
        pages.append(name)
    for source in _found(FILES):
        copy = target / source.relative_to(PROJECT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, copy)
    for module, title in REFERENCE.items():
        name = f"reference/{module}.md"
        _write(target / name, f"# {title}\n\n::: {module}\n")
        pages.append(name)
    return pages


def _found(patterns: tuple[str, ...]) -> Iterator[Path]:
    for pattern in patterns:
        yield from sorted(path for path in PROJECT.glob(pattern) if path.is_file())


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def navigation(groups: list[Any], pages: list[str]) -> list[Any]:
    """Replace the patterns of a navigation by the pages that match and are nowhere named.

    Args:
        groups: Names and patterns of pages, and groups of such.
        pages: All pages.

    Raises:
        ValueError: A page is in no group, or a page that is named is not there.
    """
    named = set(_leaves(groups))
    taken: set[str] = set()

    def expand(entries: list[Any]) -> list[Any]:
        expanded: list[Any] = []
        for entry in entries:
            if isinstance(entry, dict):
                expanded += [{title: expand(inside)} for title, inside in entry.items()]
            elif "*" in entry:
                expanded += [page for page in pages if page not in named and _matches(page, entry)]
            else:
                expanded.append(entry)
        taken.update(entry for entry in expanded if isinstance(entry, str))
        return expanded

    whole = expand(groups)
    if taken != set(pages):
        raise ValueError(f"Pages and navigation differ: {sorted(taken.symmetric_difference(pages))}")
    return whole


def _matches(page: str, pattern: str) -> bool:
    """Whether a page is in a pattern's own folder and has such a name."""
    path, wanted = PurePosixPath(page), PurePosixPath(pattern)
    return path.parent == wanted.parent and fnmatchcase(path.name, wanted.name)


def _leaves(entries: list[Any]) -> Iterator[str]:
    for entry in entries:
        if isinstance(entry, dict):
            for inside in entry.values():
                yield from _leaves(inside)
        else:
            yield entry


def build(target: Path) -> int:
    """Build the site into a folder, which is emptied first, and return the builder's exit code: 0 without a warning."""
    zensical = Path(sys.executable).with_name("zensical")
    if not zensical.is_file():
        sys.exit("The site's builder is not installed.\n  -> make env, or pip install -c constraints.txt '.[docs]'")
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work)
        pages = assemble(folder / "pages")
        config = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))
        (handler,) = (one["mkdocstrings"]["handlers"]["python"] for one in config["plugins"] if "mkdocstrings" in one)
        handler["paths"] = [str(PROJECT)]
        handler["options"]["extensions"] = [str(PROJECT / "docs" / "fenced_doctests.py")]
        config |= {"docs_dir": "pages", "site_dir": "site", "nav": navigation(config["nav"], pages)}
        _write(folder / "mkdocs.yml", yaml.safe_dump(config, sort_keys=False))
        done = subprocess.run([zensical, "build", "--strict"], cwd=folder, check=False)
        if done.returncode == 0:
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(folder / "site", target)
    return done.returncode


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target", nargs="?", type=Path, default=PROJECT / "site", help="folder of the site")
    sys.exit(build(parser.parse_args().target))
