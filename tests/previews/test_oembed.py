"""Which provider is asked, and what its answer says."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmr.previews.model import ImageCandidate, Preview, PreviewOptions
from mmr.previews.oembed import MAX_ANSWER_BYTES, Providers, preview_oembed

URL = "https://video.example/watch?v=1"
PROVIDERS = Providers.load(
    json.dumps(
        [
            {
                "provider_name": "Video",
                "provider_url": "https://video.example/",
                "endpoints": [
                    {
                        "schemes": [
                            "http://*.video.example/watch*",
                            "http://video.example/watch*",
                            "https://*.*.video.example/*/clip/*",
                            "video:*",
                        ],
                        "url": "https://video.example/oembed.{format}",
                    }
                ],
            },
            {
                "provider_name": "Own URL",
                "provider_url": "https://own.example/",
                "endpoints": [{"url": "https://own.example/api/*?v=2"}],
            },
            {
                "provider_name": "XML",
                "provider_url": "https://xml.example/",
                "endpoints": [{"url": "https://xml.example/", "formats": ["xml"]}],
            },
        ]
    )
)


def preview(**fields: Any) -> Preview | None:
    answer = json.dumps({"version": "1.0", **fields}).encode()
    return preview_oembed(answer, URL, "Video", PreviewOptions())


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://video.example/watch?v=1", "Video"),
        ("http://WWW.Video.Example/watch/1", "Video"),
        ("https://a.b.video.example/x/clip/1", "Video"),
        ("https://own.example/anything", "Own URL"),
        ("https://video.example/about", ""),
        ("https://notvideo.example/watch?v=1", ""),
        ("https://evil.example/www.video.example/watch", ""),
        ("https://evil.example/?x.video.example/watch", ""),
        ("https://video.example@evil.example/watch", ""),
        ("https://b.video.example/clip/1", ""),
        ("https://xml.example/1", ""),
        ("http://[::1/", ""),
    ],
)
def test_a_url_is_matched_host_by_host_and_path_by_path(url: str, name: str) -> None:
    assert PROVIDERS.name_for(url) == name
    assert (PROVIDERS.endpoint_for(url) is not None) == bool(name)


def test_the_request_names_the_format_and_the_url() -> None:
    assert PROVIDERS.endpoint_for(URL) == (
        "https://video.example/oembed.json"
        "?format=json&url=https%3A%2F%2Fvideo.example%2Fwatch%3Fv%3D1"
    )
    assert PROVIDERS.endpoint_for("https://own.example/a&b") == (
        "https://own.example/api?v=2&format=json&url=https%3A%2F%2Fown.example%2Fa%26b"
    )


def test_the_list_that_is_shipped_knows_the_large_sites() -> None:
    providers = Providers.bundled()

    assert len(providers) > 300
    for url, name in (
        ("https://www.youtube.com/watch?v=x", "YouTube"),
        ("https://vimeo.com/1", "Vimeo"),
        ("https://www.flickr.com/photos/a/1", "Flickr"),
        ("https://blog.example/", ""),
    ):
        assert providers.name_for(url) == name


@pytest.mark.parametrize(
    "data", ["", "{}x", "[1]", '{"a": 1}', '[{"endpoints": [{}]}]']
)
def test_a_list_that_is_none_is_refused(data: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        Providers.load(data)


def test_a_video_is_shown_with_its_still() -> None:
    result = preview(
        type="video",
        title="Tom &amp; Ada",
        provider_name="VidSite",
        thumbnail_url="/thumb.jpg",
        thumbnail_width=480,
        thumbnail_height="360",
        html="<iframe src='https://video.example/embed/1'></iframe>",
    )

    assert result == Preview(
        URL,
        "VidSite",
        "video",
        "Tom & Ada",
        "",
        (ImageCandidate("https://video.example/thumb.jpg", 480, 360),),
    )


def test_a_photo_is_its_own_image() -> None:
    result = preview(
        type="photo",
        author_name="Ada",
        url="https://i.example/1.jpg",
        width=9,
        height=5,
    )

    assert result is not None
    assert result.url == URL
    assert result.title == "Ada"
    assert result.site_name == "Video"
    assert result.images == (ImageCandidate("https://i.example/1.jpg", 9, 5),)


def test_a_link_leads_where_it_says() -> None:
    result = preview(type="link", title="T", url="https://other.example/x")

    assert result == Preview("https://other.example/x", "Video", "link", "T")


def test_rich_content_is_reduced_to_text() -> None:
    """R27."""
    html = (
        "<blockquote><p>Hello <b>world</b></p><a href='/x'>May 1</a></blockquote>"
        "<script>alert(1)</script><style>p{}</style><div hidden>secret</div>"
    )
    result = preview(type="rich", html=html)

    assert result is not None
    assert result.description == "Hello world May 1"


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"<oembed><type>link</type><title>XML</title></oembed>",
        b"[" * 30_000,
        b'{"type": "link", "title": NaN}',
        b'{"type": "link", "title": ' + b"1" * 5000 + b"}",
        b'["type", "link"]',
        b'{"type": "other", "title": "x"}',
        b'{"type": ["link"], "title": "x"}',
        b'{"title": "x"}',
        b'{"type": "link"}',
        b'{"type": "link", "title": "' + b"x" * MAX_ANSWER_BYTES + b'"}',
    ],
)
def test_an_answer_that_is_of_no_use_leaves_the_page(answer: bytes) -> None:
    """R25."""
    assert preview_oembed(answer, URL, "", PreviewOptions()) is None


def test_every_field_is_made_safe() -> None:
    """R27: markup, direction, length, schemes and sizes."""
    result = preview(
        type="photo",
        title="\u202e<b>x</b>\u0000" + "word " * 200_0,
        provider_name=["a"],
        url="javascript:alert(1)",
        width=-5,
        thumbnail_url="https://i.example/t.jpg",
        thumbnail_width=10**12,
        thumbnail_height=1e300,
    )

    assert result is not None
    assert result.url == URL
    assert result.site_name == "Video"
    assert result.title.startswith("<b>x</b>")
    assert len(result.title) <= 150
    assert result.images == (ImageCandidate("https://i.example/t.jpg"),)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)
KEYS = st.sampled_from("url title html thumbnail_url width author_name".split())


@given(st.sampled_from(["photo", "video", "link", "rich"]), st.dictionaries(KEYS, JSON))
def test_no_answer_fails(kind: str, fields: dict[str, Any]) -> None:
    result = preview(type=kind, **fields)

    assert result is None or len(result.title) <= 150


@given(st.text(), st.text(alphabet="ab/*.:?[]@"))
def test_no_url_fails(text: str, odd: str) -> None:
    for url in (text, f"https://{odd}", f"https://video.example/{odd}"):
        PROVIDERS.endpoint_for(url)
