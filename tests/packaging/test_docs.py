"""The manual's links lead somewhere."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
_LINK = re.compile(r"\]\((?!https?://|#|mailto:)([^)#]+)(?:#[^)]*)?\)")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files(page: Path) -> None:
    targets = _LINK.findall(page.read_text())
    missing = [target for target in targets if not (page.parent / target).exists()]
    assert missing == []


def test_the_manual_is_built_without_a_warning(tmp_path: Path) -> None:
    """Every page is in the navigation; every link and anchor leads somewhere."""
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-d", tmp_path]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    assert (tmp_path / "configuration/index.html").exists()


def test_operators_are_told_what_only_they_can_do() -> None:
    """R3: media has a host name of its own; R57: TLS is in front."""
    proxy = " ".join((ROOT / "docs" / "reverse-proxy.md").read_text().split())
    assert "let that host serve nothing else" in proxy
    federation = " ".join((ROOT / "docs" / "federation.md").read_text().split())
    assert "The proxy has to speak TLS" in federation


@pytest.mark.parametrize(
    ("page", "at_least"), [("troubleshooting.md", 30), ("federation.md", 3)]
)
def test_messages_that_head_a_section_are_the_ones_in_the_code(
    page: str, at_least: int
) -> None:
    """What an operator searches for must be found, letter by letter."""
    headings = re.findall(
        r"^### (.*`.*)", (ROOT / "docs" / page).read_text(), re.MULTILINE
    )
    quoted = [text for line in headings for text in re.findall(r"`([^`]+)`", line)]
    modules = (ROOT / "mmr").rglob("*.py")
    # Literals that stand beside each other are one text.
    code = "".join(re.sub(r'"\s*f?"', "", path.read_text()) for path in modules)
    whole = [text for text in quoted if "…" not in text]
    assert len(whole) >= at_least
    assert [text for text in whole if text not in code] == []
