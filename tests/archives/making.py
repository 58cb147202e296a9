"""Archives for tests, good and bad ones, made without our own writer."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tests.harness import ALICE, HOST

WHEN = 1_500_000_000_000
MANIFEST = "export-manifest.tgz"


def part(entries: Iterable[tuple[str, bytes]]) -> bytes:
    """A tar wrapped in gzip."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as file:
        for name, data in entries:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            file.addfile(info, io.BytesIO(data))
    return gzip.compress(out.getvalue(), 1)


class Archive:
    """An archive of one entity.

    Attributes:
        media: The manifest's map: change it to make a bad one.
        entries: Names and contents.
    """

    def __init__(self, entity: str = HOST, version: int = 2) -> None:
        self.media: dict[str, dict[str, Any]] = {}
        self.entries: list[tuple[str, bytes]] = []
        self.head: dict[str, Any] = {
            "version": version,
            "user_id" if version == 1 else "entity_id": entity,
            "created_ts": WHEN,
        }

    def add(self, media_id: str, data: bytes, **values: Any) -> dict[str, Any]:
        """Add a media; gives its record, to be changed."""
        origin = values.get("origin", HOST)
        record = {
            "name": f"{media_id}.txt",
            "file_name": f"{origin}__{media_id}.txt",
            "size_bytes": len(data),
            "content_type": "text/plain",
            "s3_url": "",
            "sha256": hashlib.sha256(data).hexdigest(),
            "origin": origin,
            "media_id": media_id,
            "created_ts": WHEN,
            "uploader": ALICE,
            **values,
        }
        self.media[f"mxc://{origin}/{media_id}"] = record
        self.entries.append((str(record["file_name"]), data))
        return record

    def manifest(self) -> bytes:
        """The text of the manifest."""
        return json.dumps({**self.head, "media": self.media}).encode()

    def manifest_part(self) -> bytes:
        """The last part."""
        return part([("manifest.json", self.manifest()), ("index.html", b"<p>")])

    def parts(self, count: int = 1) -> dict[str, bytes]:
        """The files of the export, media in so many parts."""
        files = {
            f"export-part-{number + 1}.tgz": part(self.entries[number::count])
            for number in range(count)
        }
        return {**files, MANIFEST: self.manifest_part()}

    def write(self, folder: Path, count: int = 1) -> Path:
        """Put all parts into a folder."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in self.parts(count).items():
            (folder / name).write_bytes(data)
        return folder
