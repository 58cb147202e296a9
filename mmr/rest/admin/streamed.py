"""JSON objects that are larger than memory should hold."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

from mmr.http.request import MediaRequest
from mmr.http.responses import Response

_LINES = b"Content-Type: application/json\r\nCache-Control: no-store\r\n"
_PIECE_CHARS = 64 * 1024


class StreamedObject(Response):
    """One JSON object, member by member.

    What fails on the way breaks the connection off: half an answer must not look like
    a short one (D67).

    Args:
        members: Pairs of key and value, each key once.
    """

    def __init__(self, members: AsyncIterator[tuple[str, Any]]) -> None:
        self._members = members

    async def send(self, request: MediaRequest) -> None:
        """Write it. What fails before the first member is an answer like any other."""
        first = await anext(self._members, None)
        request.start(200, _LINES, None)
        if first is None:
            await request.write(b"{}")
            return
        text = "{" + _member(first)
        async for member in self._members:
            text += "," + _member(member)
            if len(text) >= _PIECE_CHARS:
                await request.write(text.encode())
                text = ""
        await request.write((text + "}").encode())


def _member(member: tuple[str, Any]) -> str:
    key, value = member
    text = f"{json.dumps(key)}:{json.dumps(value, separators=(',', ':'))}"
    for char in "<>&":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return text
