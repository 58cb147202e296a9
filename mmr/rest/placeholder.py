"""The answer in place of quarantined media."""

from __future__ import annotations

from mmr.http.responses import NO_STORE, MediaResponse


def placeholder_response(image: bytes) -> MediaResponse:
    """The image with a type, name and length of its own (D9). No cache keeps it."""
    return MediaResponse(
        content_type="image/png",
        name="not_allowed.png",
        size=len(image),
        source=image,
        cache_control=NO_STORE,
    )
