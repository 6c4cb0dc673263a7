"""The documentation site: every page is on it, every link on it leads somewhere, nothing is loaded from elsewhere."""

import importlib.util
import re
import subprocess
import sys

import pytest
from command_line import PROJECT

SCRIPT = PROJECT / "docs" / "build_site.py"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("build_site", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_new_page_comes_where_its_pattern_is(script):
    groups = ["index.md", {"Use it": ["docs/b.md", "docs/*.md"]}, {"The project": ["docs/c.md"]}]
    pages = ["index.md", "docs/a.md", "docs/b.md", "docs/c.md", "docs/new.md"]
    assert script.navigation(groups, pages) == [
        "index.md",
        {"Use it": ["docs/b.md", "docs/a.md", "docs/new.md"]},
        {"The project": ["docs/c.md"]},
    ]


@pytest.mark.parametrize("pages", [["index.md"], ["index.md", "docs/a.md", "docs/models/b.md"]])
def test_pages_that_are_named_and_not_there_or_in_no_group_are_an_error(script, pages):
    with pytest.raises(ValueError, match=r"docs/a\.md|docs/models/b\.md"):
        script.navigation(["index.md", "docs/a.md", "docs/*.md"], pages)


def test_pages_keep_their_paths_and_the_readmes_are_the_indexes(script, tmp_path):
    pages = script.assemble(tmp_path)
    markdown = {path.relative_to(PROJECT).as_posix() for path in (PROJECT / "docs").rglob("*.md")}
    assert markdown | {"index.md", "data/index.md", "CHANGELOG.md"} <= set(pages)
    assert "](data/index.md)" in (tmp_path / "index.md").read_text()


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("zensical") is None, reason="needs the extra: pip install '.[docs]'")
def test_the_site_is_built_without_a_warning(tmp_path):
    done = subprocess.run([sys.executable, SCRIPT, tmp_path / "site"], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Warning" not in done.stdout + done.stderr
    pages = {path.relative_to(tmp_path / "site").as_posix() for path in (tmp_path / "site").rglob("*.html")}
    assert {"index.html", "docs/metrics.html", "docs/models/cmi_rm.html", "data/index.html"} <= pages
    interface = (tmp_path / "site/reference/cmi_bench.html").read_text()
    assert all(f'id="cmi_bench.{name}"' in interface for name in ("load_model", "SongScorer.rank", "Results"))
    assert "<blockquote>" not in interface  # what Markdown makes of an example's `>>>`
    loaded = re.compile(r"<(?:script|link|img|iframe|source)\b[^>]*(?:src|href)=[\"']?(?:https?:)?//")
    assert [page for page in pages if loaded.search((tmp_path / "site" / page).read_text())] == []
