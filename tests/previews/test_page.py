"""What is found in a page, and in which order it is preferred."""

from __future__ import annotations

import sys
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmr.previews.model import MAX_IMAGES, PageResult, Preview, PreviewOptions
from mmr.previews.page import preview_page
from mmr.previews.scan import MAX_ELEMENTS, scan
from mmr.previews.text import clean

URL = "https://a.example/dir/page"
LONG = (
    "This sentence is long enough to be taken for the text of a page, and for no menu."
)


def page(html: str, content_type: str = "text/html", url: str = URL) -> PageResult:
    return preview_page(html.encode(), content_type, url, PreviewOptions())


def preview(html: str) -> Preview:
    return page(html).preview


def images(html: str) -> list[str]:
    return [
        image.url.removeprefix("https://a.example/dir/")
        for image in preview(html).images
    ]


@pytest.mark.parametrize(
    "html", ["", " ", "\0\0", "<p", "<!--", "<html></html>", "\ufeff"]
)
def test_a_page_with_nothing_in_it_gives_an_empty_preview(html: str) -> None:
    assert page(html) == PageResult(Preview(URL))
    assert preview(html).is_empty


def test_the_title_is_taken_from_where_there_is_one() -> None:
    sources = [
        "<meta property=og:title content=graph>",
        "<meta name=twitter:title content=card>",
        "<title>title</title>",
        "<h1>one</h1>",
        "<h2>two</h2>",
        "<h3>three</h3>",
        "<b itemprop=headline>headline</b>",
        '<script type="application/ld+json">{"name":"structured"}</script>',
        "<b itemprop=name>name</b>",
        "<b class=p-name>micro</b>",
    ]
    found = []
    while sources:
        found.append(preview("".join(reversed(sources))).title)
        del sources[0]

    assert found == (
        "graph card title one two three headline structured name micro".split()
    )


def test_the_description_is_taken_from_where_there_is_one() -> None:
    sources = [
        "<meta property=og:description content=graph>",
        "<meta name=twitter:description content=card>",
        "<meta name=Description content=meta>",
        "<b itemprop=description>property</b>",
        '<script type="application/ld+json">{"name":"x","description":"data"}</script>',
        "<b class=p-summary>micro</b>",
        "<p>text",
    ]
    found = []
    while sources:
        found.append(preview("<br>".join(reversed(sources))).description)
        del sources[0]

    assert found == "graph card meta property data micro text".split()


def test_the_last_of_several_properties_counts_unless_it_is_empty() -> None:
    html = (
        "<meta property=og:title content=first><meta property=og:title content=last>"
        "<meta property=og:title content=' '>"
    )

    assert preview(html).title == "last"


def test_title_elements_of_drawings_and_hidden_parts_are_no_titles() -> None:
    html = "<svg><title>icon</title></svg><div hidden><h1>no</h1></div><h2>yes</h2>"

    assert preview(html).title == "yes"


@pytest.mark.parametrize(
    "hidden",
    [
        "<script>x</script>",
        "<style>x</style>",
        "<noscript>x</noscript>",
        "<template><p>x</p></template>",
        "<svg><text>x</text></svg>",
        "<select><option>x</option></select>",
        "<textarea>x</textarea>",
        "<iframe>x</iframe>",
        "<!-- x -->",
        "<header>x</header>",
        "<nav>x</nav>",
        "<aside>x</aside>",
        "<footer>x</footer>",
        "<form>x</form>",
        "<p hidden>x</p>",
        "<p aria-hidden=true>x</p>",
        "<p style='color:red;display : none'>x</p>",
        "<p style='VISIBILITY:hidden'>x</p>",
        "<p class='a sr-only'>x</p>",
        "<div role=navigation>x</div>",
        "<a href=#main>x</a>",
        "<header><div><p>x</div></header>",
        "<nav><nav>x</nav>x</nav>",
        "<?php x ?>",
    ],
)
def test_what_readers_don_t_see_is_not_in_the_text(hidden: str) -> None:
    assert preview(f"<body>{hidden}<p>{LONG}</p>{hidden}").description == LONG


def test_a_body_that_waits_for_its_scripts_is_not_hidden() -> None:
    assert preview(f"<body style='display:none'><p>{LONG}").description == LONG


def test_words_end_with_blocks_but_not_with_inline_elements() -> None:
    html = "<p>one<p>two<div>thr<b>e</b>e</div>four<br>fi<i>ve</i>"

    assert preview(html).description == "one two three four five"


def test_the_main_part_goes_first() -> None:
    html = f"<div>{'Menu ' * 40}</div><main><p>{LONG}</p></main>"

    assert preview(html).description == LONG


@pytest.mark.parametrize("tag", ["form", "table"])
def test_a_page_that_is_all_in_one_form_or_table_has_a_text(tag: str) -> None:
    assert preview(f"<p>©</p><{tag}><tr><td>{LONG}</{tag}>").description == LONG


def test_the_largest_sensible_image_wins() -> None:
    """D47."""
    html = (
        "<img src=small width=60 height=60><img src=large width=800 height=600>"
        "<img src=medium width=400 height=300><img src=tiny width=9 height=900>"
        "<img src=bar width=3000 height=100><img src=unknown>"
    )

    assert images(html) == ["large", "medium", "small", "unknown", "bar"]


@pytest.mark.parametrize(
    "image",
    [
        "<img src='data:image/png;base64,AAAA'>",
        "<img src=/favicon.ico>",
        "<img src=img/sprite-2.png width=900 height=900>",
        "<img src=spacer.gif>",
        "<img src=x width=1 height=1>",
        "<img src=x width=5>",
        "<img>",
        "<img src='javascript:x'>",
        "<noscript><img src=x></noscript>",
        "<img src=x hidden>",
        "<template><img src=x></template>",
    ],
)
def test_decoration_is_no_image_of_the_page(image: str) -> None:
    assert images(image) == []


@pytest.mark.parametrize(
    ("image", "found"),
    [
        ("<img data-src=real src='data:image/gif;base64,R0'>", "real"),
        ("<img data-original=real src=blank.gif>", "real"),
        ("<img srcset='s 300w, l 900w, xl 4000w' src=s>", "l"),
        ("<img srcset='one, two 2x'>", "two"),
        ("<img srcset='data:image/gif;base64,R0 1x' src=real>", "real"),
        ("<picture><source srcset='a 1x, b 2x'><img src='data:,'></picture>", "b"),
        ("<video poster=still src=film.mp4></video>", "still"),
        ("<amp-img src=amp width=300 height=300></amp-img>", "amp"),
        ("<link rel=image_src href=linked>", "linked"),
        ("<meta itemprop=image content=item>", "item"),
        ("<img itemprop=image src=item>", "item"),
        ("<meta property=og:image:url content=graph>", "graph"),
        ("<meta name=twitter:image:src content=card>", "card"),
    ],
)
def test_images_are_found_wherever_pages_keep_them(image: str, found: str) -> None:
    assert images(image)[0] == found


def test_only_a_few_images_are_kept() -> None:
    html = "".join(f"<img src=i{number}>" for number in range(10_000))

    assert images(html) == [f"i{number}" for number in range(MAX_IMAGES)]


def test_addresses_are_relative_to_the_base() -> None:
    html = "<base href=/other/><base href=/second/><img src=x>"

    assert preview(html).image_url == "https://a.example/other/x"
    assert preview("<base href='javascript:x'><img src=/x>").image_url == (
        "https://a.example/x"
    )


def test_only_the_json_answer_of_the_page_is_discovered() -> None:
    html = (
        "<link rel=alternate type=text/xml+oembed href=/xml>"
        "<link rel=alternate type=application/json+oembed href='ftp://a.example/'>"
        "<link rel=alternative type=Application/JSON+oembed href=/json?a=1&amp;b=2>"
    )

    assert page(html).oembed_url == "https://a.example/json?a=1&b=2"


def test_a_page_can_not_pass_for_one_of_another_scheme() -> None:
    """R27."""
    html = "<meta property=og:url content='javascript:alert(1)'>"

    assert preview(html).url == URL


def test_structured_data_of_the_site_is_not_about_the_page() -> None:
    html = """<script type="application/ld+json">{"@graph":[
    {"@type":"Organization","name":"Org","description":"no"},
    {"@type":["WebPage","X"],"name":"Page","description":"yes","publisher":{"name":"P"},
     "image":{"url":"/i.png","width":640,"height":"480"}}]}</script>"""

    result = preview(html)

    assert (result.title, result.description, result.site_name) == ("Page", "yes", "P")
    assert [(i.width, i.height) for i in result.images] == [(640, 480)]


@pytest.mark.parametrize(
    "data",
    [
        *("", "null", "[" * 60_000, '{"name":NaN}', '{"name":[1]}'),
        '{"name":' + "9" * 5000 + "}",
        '{"name":"x","image":[[[{"url":{}}]]],"publisher":[],"@type":{}}',
    ],
)
def test_structured_data_never_breaks_a_page(data: str) -> None:
    """R25."""
    html = f"<title>t</title><script type=application/ld+json>{data}</script>"

    assert preview(html).title == "t"


def test_no_entity_is_expanded_and_nothing_is_loaded() -> None:
    """R25: billion laughs, and a file."""
    html = (
        '<?xml version="1.0"?><!DOCTYPE html [<!ENTITY a "lol"><!ENTITY b "&a;&a;">'
        '<!ENTITY f SYSTEM "file:///etc/passwd">]><html><title>&b;&f;</title></html>'
    )

    title = page(html, "application/xhtml+xml").preview.title

    assert "lol" not in title
    assert "root" not in title


def test_elements_that_xhtml_closes_at_once_don_t_swallow_the_page() -> None:
    html = f'<html><head><script src="x"/><title>t</title></head><p>{LONG}</p></html>'

    result = page(html, "application/xhtml+xml; charset=utf-8").preview

    assert (result.title, result.description) == ("t", LONG)


def test_refresh_is_not_followed() -> None:
    """R27."""
    html = (
        "<meta http-equiv=refresh content='0;url=https://b.example/'><title>t</title>"
    )

    assert preview(html) == Preview(URL, title="t")


@pytest.mark.parametrize(
    "field",
    [
        "<title>{}</title>",
        "<p>{}",
        "<h1>{}</h1>",
        "<meta property=og:title content='{}'>",
    ]
    + [f"<meta property=og:{k} content='{{}}'>" for k in ("type", "site_name")]
    + ["<meta name=description content='{}'>"],
)
def test_every_text_is_clean_and_cut(field: str) -> None:
    """R27."""
    hostile = "&#x202e;&lt;b&gt;&#7;" + "x" * 1_000_000

    result = preview(field.format(hostile))

    for text in (result.title, result.description, result.site_name):
        assert len(text) <= 200
        assert clean(text) == text
    assert "<b>x" in f"{result}"


HOSTILE = {
    "nested": "<div>x",
    "nested inline": "<b>",
    "open attributes": "<a b='",
    "comments": "<!--",
    "entities": "&amp;",
    "tables": "<table><tr><td>",
    "end tags": "</a></p>",
    "images": "<img src=a srcset='a 1w,b 2w' width=20 height=20>",
    "metas": "<meta property=og:image content=x>",
    "captures": "<p class='p-name p-summary' itemprop='name headline'>x",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_five_megabytes_of_anything_are_survived(name: str) -> None:
    """R24: deep, wide or endless; what was found before stays."""
    seed = HOSTILE[name]
    html = "<title>t</title>" + seed * (5_000_000 // len(seed))
    limit, start = sys.getrecursionlimit(), time.process_time()
    try:
        sys.setrecursionlimit(200)
        result = preview_page(html.encode(), "text/html", URL, PreviewOptions())
    finally:
        sys.setrecursionlimit(limit)

    assert result.preview.title == "t"
    assert len(result.preview.images) <= MAX_IMAGES
    assert time.process_time() - start < 10


def test_a_million_nested_elements_give_what_came_before() -> None:
    """R24."""
    assert preview(f"<p>{LONG}</p>" + "<div>" * 1_000_000).description == LONG


def test_what_comes_after_too_many_elements_is_not_read() -> None:
    """R24."""
    html = "<p></p>" * MAX_ELEMENTS + "<h1>late</h1>"

    assert preview(html).title == ""


def test_the_scan_keeps_little_of_a_large_page() -> None:
    """R24."""
    html = "<meta name=a content=b><link rel=alternate><img src=x>" * 5000
    html += "<script type=application/ld+json>{}</script>" * 100

    found = scan(html)

    assert len(found.metas) == len(found.images) == 500
    assert len(found.links) == 100
    assert len(found.json_ld) == 5


TAGS = st.sampled_from(
    "html head body title meta link img p div script style table svg form a h1 base"
    " template noscript nav source video select".split()
)
ATTRIBUTES = st.sampled_from(
    [
        *(
            "src=x",
            "href='/y'",
            "content='a b'",
            "property=og:image",
            "hidden",
            "rel=x",
        ),
        *("property=og:title", "itemprop='name image'", "class=p-name", "width=50"),
        *("type=application/ld+json", "srcset='a 2x, b'", "style=display:none", "'\"<"),
    ]
)
PIECES = st.one_of(
    st.builds(
        lambda tag, attributes: f"<{tag} {' '.join(attributes)}>",
        TAGS,
        st.lists(ATTRIBUTES, max_size=3),
    ),
    st.builds("</{}>".format, TAGS),
    st.text(max_size=10),
    st.sampled_from(
        ["<!--", "-->", "<![CDATA[", "]]>", "&#x110000;", "&#0;", "\0", '{"']
    ),
)


def check(result: PageResult) -> None:
    """R27 holds for a result."""
    found = result.preview
    for text in (found.title, found.description, found.site_name, found.resource_type):
        assert clean(text) == text
        assert len(text) <= 200
    for url in (found.url, *(image.url for image in found.images)):
        assert url.startswith(("http://", "https://"))
    assert len(found.images) <= MAX_IMAGES
    str(result).encode()


@given(st.lists(PIECES, max_size=40))
@settings(max_examples=300)
def test_no_soup_of_tags_fails(pieces: list[str]) -> None:
    check(page("".join(pieces)))
    check(page("".join(pieces), "application/xhtml+xml"))


@given(st.binary(max_size=500), st.text(max_size=60))
@settings(max_examples=300)
def test_no_bytes_fail(data: bytes, content_type: str) -> None:
    check(preview_page(data, content_type, URL, PreviewOptions()))
