"""Text in pictures: MMR's ``plugin_antispam_ocr`` (mmr-tools §10.1)."""

from __future__ import annotations

import base64
import io
import math
import re
from collections.abc import Awaitable, Callable, Hashable
from pathlib import Path
from typing import Any

from PIL import Image, ImageEnhance, ImageFilter

from mmr.errors import ConfigError, MatrixError
from mmr.http.client import TrustedClient, UpstreamUnavailable
from mmr.plugins.base import CheckFailed, FileInfo, FileToCheck
from mmr.util.threads import Runner

_SIDE = 512
_LARGEST_SIDE = 2048
_SIGMA = 50
_CONTRAST = 1.02
_TIMEOUT_SECONDS = 20.0
_KEYS: dict[str, tuple[type, ...]] = {
    "ocrServer": (str,),
    "keywordGroups": (list,),
    "minSizeBytes": (int,),
    "maxSizeBytes": (int,),
    "types": (list,),
    "userIds": (str,),
    "percentageOfHeight": (int, float),
}

Draw = Callable[[Path, str, str, int, int], Awaitable[bytes]]
"""Draws a picture into a box, in a confined worker: path, type, hash, width, height."""


class Ocr:
    """Refuses pictures whose text has a word of every group.

    Args:
        config: All keys of `_KEYS`.
        client: Asks the OCR server.
        draw: Decodes the picture.
        threads: Prepares it.

    Raises:
        ConfigError: a key is missing or wrong.
    """

    name = "OCR"

    def __init__(
        self, config: dict[str, Any], client: TrustedClient, draw: Draw, threads: Runner
    ) -> None:
        for key, kind in _KEYS.items():
            if not isinstance(config.get(key), kind):
                raise ConfigError(f"the plugin `ocr` needs {key}", key="plugins")
        self._url = config["ocrServer"].rstrip("/") + "/base64"
        self._groups = [
            [str(word) for word in group] for group in config["keywordGroups"]
        ]
        self._sizes = range(config["minSizeBytes"], config["maxSizeBytes"] + 1)
        self._types = frozenset(config["types"])
        self._share = min(1.0, max(0.01, config["percentageOfHeight"]))
        try:
            self._user_ids = re.compile(config["userIds"])
        except re.error as error:
            raise ConfigError(
                f"the plugin `ocr` can't read userIds: {error}", key="plugins"
            ) from error
        self._client = client
        self._draw = draw
        self._threads = threads

    def context(self, info: FileInfo) -> Hashable:
        """Some types and users are looked at, others aren't."""
        return info.content_type, self._user_ids.search(info.user_id) is not None

    async def check(self, file: FileToCheck) -> bool:
        """See `Plugin.check`."""
        if (
            file.size not in self._sizes
            or file.info.content_type not in self._types
            or self._user_ids.search(file.info.user_id) is None
        ):
            return False
        height = min(_LARGEST_SIDE, math.ceil(_SIDE / self._share))
        try:
            drawn = await self._draw(
                file.path, file.info.content_type, file.sha256, _SIDE, height
            )
        except MatrixError as error:
            if error.status >= 500:
                raise CheckFailed(f"the picture can't be drawn: {error}") from error
            # No picture, whatever it says: nobody will read any text in it.
            return False
        prepared = await self._threads.run(_prepare, drawn, self._share)
        return self._is_listed(await self._read(prepared))

    async def _read(self, picture: bytes) -> str:
        body = {"base64": base64.b64encode(picture).decode("ascii"), "trim": "\n"}
        try:
            status, answer = await self._client.request_json(
                "POST",
                self._url,
                headers={"User-Agent": "matrix-media-repo"},
                body=body,
                timeout_s=_TIMEOUT_SECONDS,
            )
        except UpstreamUnavailable as error:
            raise CheckFailed(f"the OCR server can't be asked: {error}") from error
        if status != 200:
            raise CheckFailed(f"the OCR server answers {status}")
        return str(answer.get("result", "")).lower()

    def _is_listed(self, text: str) -> bool:
        return bool(self._groups) and all(
            any(word in text for word in group) for group in self._groups
        )

    async def stop(self) -> None:
        """Nothing runs for it."""


def _prepare(drawn: bytes, share: float) -> bytes:
    """Make the text stand out. In a thread; the picture is one that we drew."""
    with Image.open(io.BytesIO(drawn), formats=["PNG", "JPEG"]) as image:
        picture = image.convert("RGB")
    picture = picture.crop((0, 0, picture.width, max(1, int(picture.height * share))))
    picture.thumbnail((_SIDE, _SIDE))
    for _ in range(2):
        picture = picture.resize((picture.width * 2, picture.height * 2))
    picture = picture.filter(ImageFilter.UnsharpMask(radius=_SIGMA))
    picture = ImageEnhance.Contrast(picture).enhance(_CONTRAST).convert("L")
    out = io.BytesIO()
    picture.save(out, "PNG")
    return out.getvalue()
