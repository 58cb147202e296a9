"""What a media is called in an archive, and what the manifest says of it."""

from __future__ import annotations

import re
from collections.abc import Callable

from mmr.archives.manifest import MediaEntry
from mmr.datastores.registry import Datastores
from mmr.datastores.s3 import S3Datastore
from mmr.storage.export_entries import ExportMedia
from mmr.thumbnailing.sniff import SNIFF_BYTES, sniff

_EXTENSIONS = {
    "application/pdf": ".pdf",
    "audio/aac": ".aac",
    "audio/flac": ".flac",
    "audio/mp4": ".m4a",
    "audio/mpeg": ".mp3",
    "audio/ogg": ".ogg",
    "audio/wav": ".wav",
    "image/avif": ".avif",
    "image/bmp": ".bmp",
    "image/gif": ".gif",
    "image/heic": ".heic",
    "image/jpeg": ".jpg",
    "image/jxl": ".jxl",
    "image/png": ".png",
    "image/svg+xml": ".svg",
    "image/tiff": ".tiff",
    "image/webp": ".webp",
    "video/mp4": ".mp4",
    "video/quicktime": ".mov",
    "video/webm": ".webm",
}
_SHA256 = re.compile(r"[0-9a-f]{64}\Z")

Describe = Callable[[ExportMedia, str], MediaEntry]
"""Gives the record of a media whose entry has that name."""


def extension_of(head: bytes) -> str:
    """The extension for a file, with its dot, by its leading bytes; may be empty."""
    sniffed = sniff(head[:SNIFF_BYTES])
    return _EXTENSIONS.get(sniffed.content_type, "") if sniffed else ""


def known_hash(media: ExportMedia) -> str:
    """The SHA-256, or nothing where none was computed yet."""
    return media.sha256_hash if _SHA256.match(media.sha256_hash) else ""


def describer(datastores: Datastores, *, with_s3_urls: bool) -> Describe:
    """Makes records for manifests."""

    def describe(media: ExportMedia, file_name: str) -> MediaEntry:
        return MediaEntry(
            origin=media.origin,
            media_id=media.media_id,
            name=media.upload_name,
            file_name=file_name,
            size_bytes=media.size_bytes,
            content_type=media.content_type,
            sha256=known_hash(media),
            s3_url=s3_url(datastores, media) if with_s3_urls else "",
            created_ts=media.creation_ts,
            uploader=media.user_id,
        )

    return describe


def s3_url(datastores: Datastores, media: ExportMedia) -> str:
    """Where the object is, if that is in a bucket: endpoint, bucket, location."""
    store: object = datastores.find(media.datastore_id)
    if not isinstance(store, S3Datastore):
        return ""
    options = store.options
    return f"{options.endpoint_url}/{options.bucket}/{media.location}"
