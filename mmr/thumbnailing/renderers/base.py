"""The interface of a renderer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import attrs

from mmr.thumbnailing.model import ImageInfo, RenderOptions
from mmr.thumbnailing.sizes import TargetSize


@attrs.frozen
class Encoded:
    """A thumbnail as the worker hands it over."""

    content_type: str
    width: int
    height: int
    data: bytes = attrs.field(repr=False)
    animated: bool = False


class Renderer(Protocol):
    """Draws one media family. Every call gets the whole source.

    Any exception means that the source can't be drawn; `Refused` says why.
    """

    def probe(self, data: bytes, options: RenderOptions) -> ImageInfo:
        """Look at the header only; the limits of `RenderOptions` hold here too."""
        ...

    def render(
        self, data: bytes, targets: Sequence[TargetSize], options: RenderOptions
    ) -> Iterator[Encoded]:
        """Decode once and draw every target, in the order asked."""
        ...
