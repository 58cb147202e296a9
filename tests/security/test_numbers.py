"""Every number that a URL may hold is read strictly, on every route (R67)."""

from __future__ import annotations

from urllib.parse import quote

from tests.harness import HOST, png
from tests.security.expected import Callers, Role, callers_of
from tests.security.route_case import RouteCase

# The language's own parser takes most of these.
NO_NUMBERS = (
    "１２",
    "١٢",
    "+1",
    "1_0",
    "0x10",
    "1e3",
    "1.0",
    " 1",
    "1\n",
    "--1",
    "-",
    "NaN",
    "9" * 19,
    "9" * 5000,
)
_SIDES = ("width", "height")
NUMBERS = {
    "download": ("timeout_ms",),
    "thumbnail": ("timeout_ms", *_SIDES),
    "info": ("timeout_ms",),
    "identicon": _SIDES,
    "preview_url": ("ts",),
}
_URL = "http://site.example/"


class Numbers(RouteCase):
    async def test_what_is_no_number_is_400(self) -> None:
        media_id = await self.upload(png())
        asked = 0
        for method, template in self.every_route():
            if method != "GET":
                continue
            words = set(template.split("/"))
            for action, names in NUMBERS.items():
                if action not in words:
                    continue
                bare = self.fill(template, HOST, media_id).partition("?")[0]
                for name in names:
                    for value in NO_NUMBERS:
                        path = f"{bare}?url={_URL}&{name}={quote(value)}"
                        is_server = callers_of(method, template) is Callers.SERVERS
                        role = Role.SERVER if is_server else Role.USER
                        answer = await self.ask_as(role, method, path)
                        self.assertEqual(answer.status, 400, path[:200])
                        asked += 1
        self.assertGreater(asked, 300)

    async def test_lengths_are_digits(self) -> None:
        for value in ("+1", "1_0", "0x1", "１", "-1", "1 1", "1,1", "9" * 30, ""):
            wire = await self.wire()
            line = f"Content-Length: {value}"
            wire.send(self.head("POST", "/_matrix/media/v3/upload", line))
            answer = await wire.answer()
            self.assertIn(answer.status, (400, 413), value)
            await wire.closed()
        self.assertTrue(await self.is_empty())

    async def test_ranges_are_digits(self) -> None:
        """Those that can't be read are ignored (R68)."""
        media_id = await self.upload(png())
        for value in ("+0-1", "0-1_0", "0x0-1", "０-１", "0-1e1", f"0-{'9' * 30}x"):
            answer = await self.download(media_id, headers={"Range": f"bytes={value}"})
            self.assertEqual(answer.status, 200, value)
