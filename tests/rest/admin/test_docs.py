"""The manual shows each call of an admin's, and how the proxy sends it here."""

from __future__ import annotations

import re
from pathlib import Path

from tests.integration.nginx import manual_block
from tests.rest.admin.case import AdminCase

DOCS = Path(__file__).resolve().parents[3] / "docs"
_PAGES = ("admin-api.md", "exports-and-imports.md")
_ALIASES = re.compile(r"/io\.t2bot\.media/")
_ADMINS = re.compile(r"/admin/|/unstable/download/")
_NAMES = {
    "$MMR": "/_matrix/media/unstable/admin",
    "$HS": "",
    "$EXPORT": "/_matrix/media/unstable/admin/export/EXPORT_ID",
    "$IMPORTS": "/_matrix/media/unstable/admin/import",
    "https://media.example.org": "",
}


def shown_calls() -> set[tuple[str, str]]:
    """Method and path of each command; what varies in it is in capitals."""
    calls = set()
    for page in _PAGES:
        text = (DOCS / page).read_text().replace("\\\n", " ")
        for command in re.findall(r"^ *curl (.*)$", text, re.MULTILINE):
            method = re.search(r"-X ([A-Z]+)", command)
            path = re.findall(r'"((?:\$|https)[^"?]*)[^"]*"', command)[-1]
            for name, value in _NAMES.items():
                path = path.replace(name, value)
            calls.add((method[1] if method else "GET", path))
    return calls


class ManualTests(AdminCase):
    async def test_every_call_is_shown(self) -> None:
        shown = shown_calls()
        self.assertGreater(len(shown), 50)
        missing = []
        for route in self.server.router.routes:
            if _ALIASES.search(route.path) or not _ADMINS.search(route.path):
                continue
            pattern = re.compile(re.sub(r":[a-z_]+", "[^/]+", route.path) + r"\Z")
            missing += [
                f"{method} {route.path}"
                for method in route.methods
                if not any(m == method and pattern.match(path) for m, path in shown)
            ]
        self.assertEqual(missing, [])

    def test_every_shown_call_is_there(self) -> None:
        for method, path in shown_calls():
            self.server.router.match(method.encode(), path)

    def test_the_proxys_part_is_the_same_on_both_pages(self) -> None:
        part = manual_block("moderation.md")
        self.assertIn(part, manual_block())
