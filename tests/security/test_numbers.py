"""Every number that a URL may hold is read strictly, on every route (R67)."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import quote

import mmr

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

_TIME = "1795310000000"
_PAGE = ("from", "limit")
_WORDS = ("perhaps", "2", "TRUE ", "tru", "\u0442rue")
_PURGE = {"before_ts": NO_NUMBERS, "dry_run": _WORDS, "wait": _WORDS}
_LISTED = dict.fromkeys(_PAGE, NO_NUMBERS) | {"order_by": _WORDS, "dir": _WORDS}
_STATISTICS = _LISTED | dict.fromkeys(("from_ts", "until_ts"), NO_NUMBERS)
ADMIN_PARAMETERS: dict[str, dict[str, tuple[str, ...]]] = {
    "POST purge/remote": _PURGE,
    "POST purge_remote": _PURGE,
    "POST purge_media_cache": {"before_ts": NO_NUMBERS},
    "POST purge/old": _PURGE | {"include_local": _WORDS},
    "POST purge/quarantined": {"dry_run": _WORDS, "wait": _WORDS},
    "POST purge/user/*": _PURGE,
    "POST purge/room/*": _PURGE,
    "POST purge/server/*": _PURGE,
    "POST purge/*/*": {"dry_run": _WORDS, "wait": _WORDS},
    "GET datastores/*/size_estimate": {"before_ts": NO_NUMBERS},
    "POST datastores/*/transfer_to/*": {
        "before_ts": NO_NUMBERS,
        "bytes_per_second": NO_NUMBERS,
    },
    "GET usage/*/users-stats": _STATISTICS,
    "GET audit": dict.fromkeys(_PAGE, NO_NUMBERS),
    "GET users/*/media": _LISTED,
    "DELETE users/*/media": _LISTED,
    "GET statistics/users/media": _STATISTICS,
    "GET media/quarantine_changes": {"from": NO_NUMBERS},
    "POST media/delete": {
        "before_ts": NO_NUMBERS,
        "size_gt": NO_NUMBERS,
        "keep_profiles": _WORDS,
    },
    "POST media/*/delete": {
        "before_ts": NO_NUMBERS,
        "size_gt": NO_NUMBERS,
        "keep_profiles": _WORDS,
    },
}
"""What admins may say beside the path, by route, and what isn't such a thing."""


# What reads a parameter, with its name.
_READ = re.compile(
    r"(?:\.integer|\.boolean|_number|number|flag|choice)"
    r"\((?:request\.)?(?:query, )?\s*\"([\w.]+)\""
)
# Only where profiling is on: tests/integration/test_logs.py.
_ELSEWHERE = {"seconds"}
# Flags of clients' routes: tests/rest/test_download.py and others.
_FLAGS = {
    "allow_remote",
    "allow_redirect",
    "org.matrix.msc2702.asAttachment",
}


def _tail(template: str) -> str:
    """What is behind the prefixes, whatever its parameters are called."""
    tail = re.sub(r"^.*/admin/(v1/)?", "", template)
    return re.sub(r":[a-z0-9_]+", "*", tail)


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

    async def test_what_admins_may_say_is_read_as_strictly(self) -> None:
        """R67: 400, and nothing is done."""
        media_id = await self.upload(png())
        rooms = self.homeserver.room_media
        rooms[f"!room:{HOST}"] = {"local": [f"mxc://{HOST}/{media_id}"], "remote": []}
        met = set()
        for method, template in self.every_route():
            name = f"{method} {_tail(template)}"
            parameters = ADMIN_PARAMETERS.get(name, {})
            met.add(name)
            for parameter, values in parameters.items():
                bare = self.fill(template, HOST, media_id).partition("?")[0]
                others = "" if parameter == "before_ts" else f"before_ts={_TIME}&"
                for value in values:
                    path = f"{bare}?{others}{parameter}={quote(value)}"
                    answer = await self.ask_as(Role.ADMIN, method, path)
                    self.assertEqual(answer.status, 400, (path[:200], answer))
        self.assertEqual(set(ADMIN_PARAMETERS) - met, set())
        self.assertEqual((await self.download(media_id)).status, 200)
        self.assertEqual(await self.count("background_tasks"), 0)
        self.assertEqual(await self.count("mmr_admin_audit"), 0)

    async def test_the_largest_numbers_do_no_harm(self) -> None:
        """R67: never 500, wherever they are multiplied, added or looked up."""
        media_id = await self.upload(png())
        for method, template in self.every_route():
            names = ADMIN_PARAMETERS.get(f"{method} {_tail(template)}", {})
            for name in names:
                for value in ("9" * 18, "-" + "9" * 18, "0", "-1", "", "18" * 9):
                    bare = self.fill(template, HOST, media_id).partition("?")[0]
                    before = "" if name == "before_ts" else f"before_ts={_TIME}&"
                    path = f"{bare}?dry_run=true&{before}{name}={value}"
                    answer = await self.ask_as(Role.ADMIN, method, path)
                    self.assertLess(answer.status, 500, (path, answer))

    async def test_numbers_in_paths_are_digits_too(self) -> None:
        asked = 0
        for method, template in self.every_route():
            if not {":task_id", ":part"} & {*template.split("/")}:
                continue
            for value in (*NO_NUMBERS, "9" * 18, "-1", "0", str(2**31), str(2**63)):
                name = quote(value, safe="")
                path = re.sub(":(task_id|part)", name, template)
                path = self.fill(path, HOST, "abc").partition("?")[0]
                answer = await self.ask_as(Role.ADMIN, method, path)
                self.assertIn(answer.status, (400, 404), (path[:200], answer))
                asked += 1
        self.assertGreater(asked, 50)

    def test_the_tables_have_every_parameter(self) -> None:
        """Who reads one more says here what it may not be."""
        read = set()
        for path in (Path(mmr.__file__).parent / "rest").rglob("*.py"):
            read |= set(_READ.findall(path.read_text()))
        known = {name for names in NUMBERS.values() for name in names}
        known |= {name for names in ADMIN_PARAMETERS.values() for name in names}
        self.assertEqual(read - known - _FLAGS - _ELSEWHERE, set())

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
