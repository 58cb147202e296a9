"""Which of our objects a URL in an archive means (mmr-storage.md §5.1)."""

from __future__ import annotations

from collections.abc import Iterable

from mmr.datastores.registry import Place

_DEFAULT_PORTS = {"http": ":80", "https": ":443"}


def locate(places: Iterable[Place], url: str) -> tuple[str, str] | None:
    """The datastore id and the location that a URL names, if the bucket is ours.

    Args:
        url: Endpoint with its scheme, bucket, location; or the bucket in the host.
    """
    scheme, separator, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    if not (separator and slash and path):
        return None
    host = host.lower().removesuffix(_DEFAULT_PORTS.get(scheme.lower(), ""))
    for place in places:
        if place.type != "s3":
            continue
        endpoint, bucket = place.opts["endpoint"].lower(), place.opts["bucketName"]
        if host == endpoint and path.startswith(f"{bucket}/"):
            location = path.removeprefix(f"{bucket}/")
        elif host == f"{bucket.lower()}.{endpoint}":
            location = path
        else:
            continue
        if location:
            return place.id, location
    return None
