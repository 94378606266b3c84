"""Pages that are rendered from the code are current, and links between pages lead somewhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from riverbank.documents import rendered, stale

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "ARCHITECTURE.md", *(ROOT / "docs").rglob("*.md")])


def anchor_of(heading: str) -> str:
    """As GitHub makes one."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def test_rendered_pages_are_current():
    """`riverbank docs render` would change nothing."""
    assert stale() == []


def test_every_setting_has_a_row():
    """With a sentence, and a default or the word that it is needed."""
    rows = re.findall(r"^\| `(\w+)` \| (.*?) \| (.*?) \|$", rendered()["settings.md"], re.MULTILINE)

    assert len(rows) > 100
    assert [name for name, default, sentence in rows if not default or not sentence] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path):
    """To a file of the repository, and to a heading that it has; addresses elsewhere are not asked."""
    text = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(), flags=re.DOTALL)
    wrong = []
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith(("http://", "https://", "mailto:")):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        headings = (
            {anchor_of(line.lstrip("#")) for line in file.read_text().splitlines() if line.startswith("#")}
            if file.suffix == ".md" and file.is_file()
            else set()
        )
        if not file.exists() or (anchor and anchor not in headings):
            wrong.append(target)

    assert wrong == []


def test_pages_are_built_and_load_nothing_from_elsewhere(tmp_path: Path):
    """`make docs`, strict: whoever reads them tells nobody."""
    command = [
        sys.executable,
        "-m",
        "mkdocs",
        "build",
        "--strict",
        "--quiet",
        "--config-file",
        str(ROOT / "mkdocs.yml"),
        "--site-dir",
        str(tmp_path / "site"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | {"NO_MKDOCS_2_WARNING": "1"})
    assert (done.returncode, done.stderr) == (0, "")

    pages = sorted((tmp_path / "site").rglob("*.html"))
    assert len(pages) >= len(list((ROOT / "docs").glob("*.md")))
    loaded = re.compile(
        r"<(?:script|img|iframe)[^>]+src=\"?https?:|<link[^>]+href=\"?https?:[^>]+rel=\"?stylesheet|@import url\(\"?https?:"
    )
    assert [page.name for page in pages if loaded.search(page.read_text())] == []
