"""Previews of pages that are modelled on common kinds of sites."""

from __future__ import annotations

from pathlib import Path

from mmr.previews.model import ImageCandidate, PageResult, PreviewOptions
from mmr.previews.page import preview_page

PAGES = Path(__file__).parent / "pages"


def preview(name: str, url: str) -> PageResult:
    data = (PAGES / f"{name}.html").read_bytes()
    return preview_page(data, "text/html", url, PreviewOptions())


def test_a_news_article_is_shown_as_it_describes_itself() -> None:
    result = preview("news", "https://news.example/2026/05/harbour-bridge?ref=feed")

    assert result.preview.url == "https://news.example/2026/05/harbour-bridge"
    assert result.preview.site_name == "The Morning Post"
    assert result.preview.resource_type == "article"
    assert result.preview.title == "Harbour bridge reopens after two-year repair"
    assert result.preview.description == (
        "Thousands crossed the bridge – on foot & by bike – within the first hour."
    )
    assert result.preview.images[:2] == (
        ImageCandidate("https://img.news.example/bridge-1200x630.jpg", 1200, 630),
        ImageCandidate("https://img.news.example/crowd.jpg"),
    )
    assert result.has_open_graph
    assert result.oembed_url is None


def test_a_blog_post_without_metadata_gets_its_text_and_its_picture() -> None:
    result = preview("blog", "https://blog.example/sourdough/")

    assert result.preview.title == "Sourdough for impatient people – Crumb & Crust"
    assert result.preview.description == (
        "You can bake a decent loaf in one afternoon. The trick is a warm oven and a"
        " very lively starter, fed twice the day before."
    )
    assert result.preview.images[0] == ImageCandidate(
        "https://blog.example/wp-content/uploads/loaf-1024x683.jpg", 1024, 683
    )
    assert "noscript" not in str(result.preview.images)
    assert not result.has_open_graph
    assert result.oembed_url == (
        "https://blog.example/wp-json/oembed/1.0/embed"
        "?url=https%3A%2F%2Fblog.example%2Fsourdough%2F"
    )


def test_a_video_page_is_shown_with_its_still() -> None:
    result = preview("video", "https://video.example/watch?v=abc123")

    assert result.preview.title == "Kaiserschmarrn wie bei Oma"
    assert result.preview.description == (
        "Kurz und süß. Zutaten: - 4 Eier - 1/4 l Milch"
    )
    assert result.preview.resource_type == "video.other"
    assert result.preview.image_url == (
        "https://i.video.example/vi/abc123/maxresdefault.jpg"
    )
    assert result.oembed_url == (
        "https://video.example/oembed?format=json"
        "&url=https%3A%2F%2Fvideo.example%2Fwatch%3Fv%3Dabc123"
    )


def test_a_product_is_described_by_its_structured_data() -> None:
    result = preview("shop", "https://shop.example/p/12")

    assert result.preview.title == "Enamel mug, 350 ml | Shop"
    assert result.preview.description == (
        "A sturdy mug for the camp fire. Holds 350 ml."
    )
    assert [image.url for image in result.preview.images] == [
        "https://shop.example/media/mug-1.jpg",
        "https://shop.example/media/mug-2.jpg",
        "https://shop.example/catalog/banner.jpg",
    ]


def test_an_old_forum_in_tables_gets_its_text() -> None:
    result = preview("forum", "http://forum.example/viewtopic.php?t=1")

    assert result.preview.title == "View topic - Which chain lube? - Bike Forum"
    assert "I ride all winter & my chain rusts." in result.preview.description
    assert [image.url for image in result.preview.images] == [
        "http://forum.example/avatars/12.gif",
        "http://forum.example/files/chain.jpg",
    ]


def test_a_wiki_article_begins_with_its_first_sentence() -> None:
    result = preview("wiki", "https://wiki.example/wiki/Puffin")

    assert result.preview.title == "Puffin - FreePedia"
    assert result.preview.description == (
        "Puffins are any of three species of small alcids in the genus Fratercula."
        " These are pelagic seabirds that feed primarily by diving. Etymology"
    )
    assert result.preview.images == (
        ImageCandidate(
            "https://upload.wiki.example/thumb/puffin.jpg/500px-puffin.jpg", 250, 188
        ),
    )


def test_a_post_on_a_social_network_is_plain_text() -> None:
    """R27: markup stays text, and nothing turns the writing direction."""
    result = preview("social", "https://social.example/@ada/1")

    assert result.preview.title == "Ada (@ada@social.example)"
    assert result.preview.description == (
        "Attached: 2 images Look at this <b>engine</b>! reversed 🚂👩‍💻"
    )
    assert result.preview.images == (
        ImageCandidate("https://files.social.example/a.png", 1600, 900),
        ImageCandidate("https://files.social.example/b.png", None, None),
    )


def test_a_repository_prefers_open_graph_to_its_twitter_card() -> None:
    result = preview("code", "https://code.example/example/rocket")

    assert result.preview.title == "example/rocket: A small rocket"
    assert result.preview.site_name == "CodeHost"
    assert result.preview.images == (
        ImageCandidate("https://opengraph.code.example/1/example/rocket", 1200, 600),
    )
