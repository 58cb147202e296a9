"""What tests of answers share: some media, and a server that gives it out."""

from __future__ import annotations

import hashlib
import tempfile
from typing import Any

from mmr.http.request import MediaRequest
from mmr.http.responses import (
    MediaResponse,
    Response,
)

from tests.http.support import HttpTestCase, Reply, a_route

BODY = bytes(range(256)) * 40
SHA256 = hashlib.sha256(BODY).hexdigest()
ETAG = b'"%s"' % SHA256.encode()


class FileObject:
    """An open file; `is_file` False makes it an object that must be read."""

    def __init__(self, content: bytes, is_file: bool = True) -> None:
        self._file = tempfile.TemporaryFile()
        self._file.write(content)
        self._file.flush()
        self._is_file = is_file
        self.reads = 0
        self.is_closed = False

    def fileno(self) -> int | None:
        return self._file.fileno() if self._is_file else None

    async def read(self, offset: int, length: int) -> bytes:
        self.reads += 1
        self._file.seek(offset)
        return self._file.read(length)

    async def close(self) -> None:
        self.is_closed = True
        self._file.close()


def media(source: Any, **options: Any) -> MediaResponse:
    options.setdefault("size", len(BODY))
    options.setdefault("name", "cat.png")
    options.setdefault("content_type", "image/png")
    options.setdefault("sha256", SHA256)
    return MediaResponse(source=source, **options)


class ResponseTestCase(HttpTestCase):
    def serve_response(self, make: Any, **options: Any) -> None:
        async def handler(request: MediaRequest) -> Response:
            response = make()
            if isinstance(response, Exception):
                raise response
            assert isinstance(response, Response)
            return response

        self.serve(a_route("/m", handler, ("GET", "HEAD", "POST")), **options)

    def assert_fixed_headers(self, reply: Reply) -> None:
        for name, value in {
            b"x-content-type-options": b"nosniff",
            b"access-control-allow-origin": b"*",
            b"x-content-security-policy": b"sandbox;",
            b"cross-origin-resource-policy": b"cross-origin",
            b"x-robots-tag": b"noindex, nofollow, noarchive, noimageindex",
            b"server": b"matrix-media-repo",
        }.items():
            self.assertEqual(reply.header(name), value)
        policy = reply.header(b"content-security-policy")
        assert policy is not None
        self.assertTrue(policy.startswith(b"sandbox; default-src 'none';"))
        self.assertIsNone(reply.header(b"access-control-allow-credentials"))
        self.assertIsNotNone(reply.header(b"date"))
