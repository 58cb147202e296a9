"""Rendering in this process, without a pool."""

from __future__ import annotations

from io import BytesIO

import pytest
from PIL import Image

from mmr.thumbnailing.model import (
    STILL_TYPES,
    ImageInfo,
    Refusal,
    Refused,
    RenderOptions,
)
from mmr.thumbnailing.protocol import Job, Reply
from mmr.thumbnailing.renderers import renderer_for
from mmr.thumbnailing.renderers.base import Encoded
from mmr.thumbnailing.sizes import TargetSize
from mmr.thumbnailing.sniff import sniff
from mmr.thumbnailing.worker import answer, handle
from mmr.types import Method

from tests.thumbnailing.images import (
    CORNERS,
    corner_colours,
    is_near,
    opened,
)

OPTIONS = RenderOptions()
BOX = TargetSize(100, 75, Method.SCALE)


def render(
    data: bytes,
    *targets: TargetSize,
    options: RenderOptions = OPTIONS,
) -> list[Encoded]:
    sniffed = sniff(data)
    assert sniffed is not None
    renderer = renderer_for(sniffed.content_type)
    return list(renderer.render(data, targets or (BOX,), options))


def rendered_image(data: bytes, target: TargetSize = BOX) -> Image.Image:
    (result,) = render(data, target)
    image = opened(result.data)
    assert image.size == (result.width, result.height)
    return image


def probe(data: bytes, options: RenderOptions = OPTIONS) -> ImageInfo:
    sniffed = sniff(data)
    assert sniffed is not None
    return renderer_for(sniffed.content_type).probe(data, options)


def refusal(data: bytes, options: RenderOptions = OPTIONS) -> Refusal:
    with pytest.raises(Refused) as caught:
        render(data, options=options)
    with pytest.raises(Refused) as probed:
        probe(data, options)
    assert probed.value.reason is caught.value.reason
    return caught.value.reason


def answered(data: bytes) -> Reply:
    options = RenderOptions(allowed_types=STILL_TYPES | {"image/jxl"})
    job = Job("image/png", (BOX,), options)
    return answer(handle, job, BytesIO(data), BytesIO())


def has_quadrants(image: Image.Image, slack: int = 12) -> bool:
    return all(
        is_near(found, wanted, slack)
        for found, wanted in zip(corner_colours(image), CORNERS, strict=True)
    )
