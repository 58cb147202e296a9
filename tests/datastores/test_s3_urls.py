"""URLs of archives, and our buckets."""

from __future__ import annotations

import pytest

from mmr.datastores.registry import Place
from mmr.datastores.s3_options import s3_options
from mmr.datastores.s3_urls import locate

PLACES = [
    Place("folder", "file", {"path": "/x"}, frozenset()),
    Place("one", "s3", {"endpoint": "s3.example", "bucketName": "b"}, frozenset()),
    Place(
        "two", "s3", {"endpoint": "S3.example:9000", "bucketName": "media"}, frozenset()
    ),
]


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("https://s3.example/b/ab/cdef", ("one", "ab/cdef")),
        ("http://S3.EXAMPLE/b/x", ("one", "x")),
        ("https://s3.example:443/b/x", ("one", "x")),
        ("http://s3.example:80/b/x", ("one", "x")),
        ("https://b.s3.example/ab/c", ("one", "ab/c")),
        ("http://s3.example:9000/media/ab/c", ("two", "ab/c")),
        ("http://s3.example:9000/b/x", None),
        ("https://s3.example/other/x", None),
        ("https://s3.example/b/", None),
        ("https://s3.example/b", None),
        ("https://s3.example.evil/b/x", None),
        ("https://evil/s3.example/b/x", None),
        ("s3.example/b/x", None),
        ("", None),
    ],
)
def test_only_our_own_buckets_are_meant(
    url: str, found: tuple[str, str] | None
) -> None:
    assert locate(PLACES, url) == found


def test_urls_that_never_end_are_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    """R88: at the start, unless they are signed."""
    opts = {
        "endpoint": "s3.example",
        "bucketName": "b",
        "publicBaseUrl": "https://cdn.example/",
    }
    s3_options("one", {**opts, "presignedRedirects": "true"})
    assert caplog.messages == []
    s3_options("one", opts)
    [said] = caplog.messages
    assert "'one': publicBaseUrl sends clients to URLs that nobody checks" in said
