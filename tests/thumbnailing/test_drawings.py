"""SVG and PDF, drawn by real workers."""

from __future__ import annotations

import base64
import io
import socket
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest
from PIL import Image

from mmr.thumbnailing import programs
from mmr.thumbnailing.desk import Desk
from mmr.thumbnailing.model import STILL_TYPES, Refusal, Refused, RenderOptions
from mmr.thumbnailing.process import WORKER_COMMAND, WorkerSlot
from mmr.thumbnailing.programs import PDF, SVG, Family, find_programs
from mmr.thumbnailing.protocol import Job
from mmr.thumbnailing.renderers import renderer_for
from mmr.util.confined.limits import WorkerLimits

from tests.thumbnailing.images import BLUE, GREEN, RED, encoded, is_near, opened
from tests.thumbnailing.media_files import ALL, BOX, desk, work

_NAMES = 'xmlns="http://www.w3.org/2000/svg" xmlns:x="http://www.w3.org/1999/xlink"'


def svg(
    inside: str, attributes: str = 'viewBox="0 0 400 200"', before: str = ""
) -> bytes:
    return f"{before}<svg {_NAMES} {attributes}>{inside}</svg>".encode()


HALVES = '<rect width="200" height="200" fill="#f00"/>'


@pytest.fixture(scope="module")
def place() -> Iterator[Desk]:
    with desk() as place:
        yield place


def refusal(place: Desk, data: bytes, content_type: str = "image/svg+xml") -> Refusal:
    with pytest.raises(Refused) as caught:
        work(place, data, content_type, BOX)
    return caught.value.reason


def drawn(place: Desk, data: bytes, content_type: str = "image/svg+xml") -> Image.Image:
    (result,) = work(place, data, content_type, BOX).rendered
    assert result.content_type == "image/png"
    return opened(result.data).convert("RGBA")


def test_a_drawing_keeps_its_transparency(place: Desk) -> None:
    image = drawn(place, svg(HALVES))

    assert image.size == (320, 160)
    assert image.getpixel((50, 80)) == (*RED, 255)
    assert image.getpixel((250, 80))[3] == 0


@pytest.mark.parametrize("content_type", ["image/svg+xml", "application/pdf"])
def test_drawings_are_off_unless_they_are_listed(
    place: Desk, content_type: str
) -> None:
    """R38."""
    data = svg(HALVES) if content_type == "image/svg+xml" else pdf()
    assert content_type not in STILL_TYPES
    with pytest.raises(Refused) as caught:
        work(place, data, content_type, BOX, options=RenderOptions())
    assert caught.value.reason is Refusal.UNSUPPORTED


@pytest.mark.parametrize(
    ("attributes", "size"),
    [
        ('width="64" height="32"', (64, 32)),
        ('width="1in" height="48pt"', (96, 64)),
        ('width="100%" height="100%" viewBox="0 0 30 60"', (30, 60)),
        ('width="100" viewBox="0 0 30 60"', (100, 200)),
        ('height="100" viewBox="0,0,30,60"', (50, 100)),
        ("", (300, 150)),
        ('viewBox="0 0 1e9 1e9"', (2048, 2048)),
        ('viewBox="0 0 1e300 1"', (2048, 1)),
        ('width="100000000" height="50000000"', (2048, 1024)),
        ('width="nonsense" viewBox="0 0 0 -1"', (300, 150)),
    ],
)
def test_the_size_is_settled_before_anything_is_drawn(
    place: Desk, attributes: str, size: tuple[int, int]
) -> None:
    """R38."""
    info = work(place, svg("", attributes), "image/svg+xml").info

    assert (info.width, info.height) == size


def test_a_huge_drawing_costs_what_its_thumbnail_costs(place: Desk) -> None:
    """R38."""
    assert drawn(place, svg(HALVES, 'viewBox="0 0 1e6 1e6"')).size == (240, 240)


def _references(canary: str) -> dict[str, str]:
    picture = 'width="400" height="200"'
    return {
        "image": f'<image {picture} x:href="{canary}"/>',
        "plain image": f'<image {picture} href="{canary}"/>',
        "include": '<xi:include xmlns:xi="http://www.w3.org/2001/XInclude" parse="text"'
        f' href="{canary}"/>',
        "use": f'<use x:href="{canary}#x"/>',
        "style": f'<style>@import url("{canary}");</style>',
        "font": f"<style>@font-face{{font-family:f;src:url({canary})}}</style>",
        "script": f'<script x:href="{canary}"/>',
        "filter": f'<filter id="f"><feImage x:href="{canary}"/></filter>'
        '<rect width="400" height="200" fill="none" filter="url(#f)"/>',
    }


@pytest.mark.parametrize("kind", sorted(_references("")))
def test_nothing_outside_of_a_drawing_is_loaded(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R38. Without any confinement: the way we call the program has to be enough."""
    monkeypatch.chdir(tmp_path)
    programs.allow(find_programs(SVG))
    canary = tmp_path / "canary.png"
    canary.write_bytes(encoded(Image.new("RGB", (400, 200), GREEN), "PNG"))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        port = listener.getsockname()[1]
        for where in (
            "canary.png",
            str(canary),
            f"file://{canary}",
            f"http://127.0.0.1:{port}/canary.png",
        ):
            inside = _references(where)[kind]
            renderer = renderer_for("image/svg+xml")
            (result,) = renderer.render(svg(inside), [BOX], ALL)
            colours = opened(result.data).convert("RGBA").getcolors(100)
            assert colours is not None
            assert not any(is_near(colour[:3], GREEN, 60) for _, colour in colours)
        with pytest.raises(BlockingIOError):
            listener.accept()


def test_pictures_inside_of_a_drawing_are_shown(place: Desk) -> None:
    inner = base64.b64encode(encoded(Image.new("RGB", (40, 20), BLUE), "PNG")).decode()
    inside = f'<image width="400" height="200" href="data:image/png;base64,{inner}"/>'

    assert is_near(drawn(place, svg(inside)).getpixel((100, 80))[:3], BLUE, 12)


@pytest.mark.parametrize(
    "data",
    [
        svg("&a;", before='<!DOCTYPE svg [<!ENTITY a "b">]>'),
        svg("&a;", before='<!DOCTYPE svg [<!ENTITY a SYSTEM "/etc/passwd">]>'),
        svg("", before='<?xml version="1.0" encoding="utf-7"?>'),
        b'<?xml version="1.0"?><html><svg/></html>',
        b'<svg xmlns="urn:else"/>',
    ],
)
def test_entities_and_other_xml_are_refused(place: Desk, data: bytes) -> None:
    """R38."""
    assert refusal(place, data) is Refusal.UNSUPPORTED


def test_broken_xml_is_refused(place: Desk) -> None:
    assert refusal(place, svg("<rect")) is Refusal.BROKEN
    assert refusal(place, b"<svg") is Refusal.BROKEN


def test_uses_of_uses_end_within_the_limits(place: Desk) -> None:
    """R38: 10 to the power of 12 rectangles."""
    levels = ['<rect id="u0" width="1" height="1"/>']
    for level in range(1, 13):
        uses = f'<use x:href="#u{level - 1}"/>' * 10
        levels.append(f'<g id="u{level}">{uses}</g>')
    bomb = svg(f'<defs>{"".join(levels)}</defs><use x:href="#u12"/>')

    assert refusal(place, bomb) in (Refusal.BROKEN, Refusal.CRASHED)
    assert drawn(place, svg(HALVES)).size == (320, 160)


def pdf() -> bytes:
    """Two pages, the first of which is red."""
    pages = [Image.new("RGB", (300, 400), colour) for colour in (RED, BLUE)]
    output = io.BytesIO()
    pages[0].save(output, "PDF", save_all=True, append_images=pages[1:])
    return output.getvalue()


def test_a_document_is_shown_by_its_first_page(place: Desk) -> None:
    image = drawn(place, pdf(), "application/pdf")

    assert image.size == (180, 240)
    assert is_near(image.getpixel((90, 120))[:3], RED, 12)


def test_a_page_that_is_turned_is_shown_turned(place: Desk) -> None:
    turned = pdf().replace(b"/MediaBox", b"/Rotate 90 /MediaBox", 1)

    assert drawn(place, turned, "application/pdf").size == (320, 240)


def test_a_document_that_is_none_is_refused(place: Desk) -> None:
    assert refusal(place, b"%PDF-1.7\nnothing", "application/pdf") is Refusal.BROKEN


def pdf_with_text() -> bytes:
    """A page with a word in a font that every reader is expected to have."""
    text = b"BT /F 40 Tf 20 20 Td (word) Tj ET"
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 200 100]/Contents 4 0 R"
        b"/Resources<</Font<</F 5 0 R>>>>>>",
        b"<</Length %d>>stream\n%s\nendstream" % (len(text), text),
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
    ]
    body, places = b"%PDF-1.4\n", []
    for number, each in enumerate(objects, 1):
        places.append(len(body))
        body += b"%d 0 obj%s endobj\n" % (number, each)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    return body + (
        b"xref\n0 6\n0000000000 65535 f \n%strailer<</Size 6/Root 1 0 R>>\n"
        b"startxref\n%d\n%%%%EOF" % (table, len(body))
    )


@pytest.mark.parametrize(
    ("family", "data", "content_type"),
    [
        (SVG, svg('<text x="20" y="90">word</text>'), "image/svg+xml"),
        (PDF, pdf_with_text(), "application/pdf"),
    ],
    ids=["SVG", "PDF"],
)
def test_text_costs_nothing_but_its_letters_where_fonts_are_missing(
    family: Family, data: bytes, content_type: str, tmp_path: Path
) -> None:
    """Issue 4."""
    blind = attrs.evolve(family, readable=())
    slot = WorkerSlot(WORKER_COMMAND, WorkerLimits(), tmp_path, blind)
    source = tmp_path / "source"
    source.write_bytes(data)
    try:
        outcome = slot.run(source, Job(content_type, (BOX,), ALL))
    finally:
        slot.close()

    assert outcome.rendered[0].width == 320
