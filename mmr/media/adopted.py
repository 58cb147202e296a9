"""Media on its way in from elsewhere, and what became of it."""

from __future__ import annotations

import enum
import re
from collections.abc import AsyncIterator

import attrs

from mmr.media.small_files import MAX_SMALL_BYTES
from mmr.storage.media import MediaRecord
from mmr.storage.objects import is_stand_in
from mmr.types import Mxc, is_valid_media_id, is_valid_server_name

_NOT_IN_TEXTS = re.compile("[\0\ud800-\udfff]")


@attrs.frozen(slots=True, kw_only=True)
class AdoptedMedia:
    """One media as its former home describes it.

    Attributes:
        user_id: The uploader; empty for remote media and when nobody knows.
        creation_ts: Uploaded or fetched at, ms since the epoch.
        last_access_ts: Last asked for; None: never since then.
        is_quarantined: It stays quarantined, and its content is blocked from now on.
        is_protected: Pinned: neither quarantined nor purged.
        requires_auth: Frozen (MSC3916); None for what new media gets here
            (``repo.freezeUnauthenticatedMedia``).
        expected_sha256: Lower-case hex; other bytes are refused.
        expected_bytes: Another length is refused.
        max_bytes: More are refused.
    """

    origin: str
    media_id: str
    content_type: str
    upload_name: str = ""
    user_id: str = ""
    creation_ts: int
    last_access_ts: int | None = None
    is_quarantined: bool = False
    is_protected: bool = False
    requires_auth: bool | None = None
    expected_sha256: str | None = None
    expected_bytes: int | None = None
    max_bytes: int | None = None

    mxc: Mxc = attrs.field(init=False, repr=False, eq=False)
    """The media's address."""

    @mxc.default
    def _make_mxc(self) -> Mxc:
        return Mxc(self.origin, self.media_id)


class Adoption(enum.Enum):
    """What became of one media."""

    STORED = "stored"
    KNOWN = "known"
    """The id was here already, with these bytes as far as can be told."""
    CONFLICT = "conflict"
    """The id was here already, with other bytes. They stay."""
    DAMAGED = "damaged"
    """The bytes are not those that were announced. Nothing was kept."""
    REFUSED = "refused"
    """Quarantined content, a plugin's no, or too large. Nothing was kept."""


@attrs.frozen(slots=True)
class AdoptOutcome:
    """What became of one media.

    Attributes:
        size_bytes: Of the content; 0 when nothing is kept.
        detail: Why not, as a sentence; empty when all is well.
    """

    adoption: Adoption
    size_bytes: int = 0
    detail: str = ""

    @property
    def is_here(self) -> bool:
        """Whether the media is here now."""
        return self.adoption in (Adoption.STORED, Adoption.KNOWN)


def compare(
    item: AdoptedMedia, known: MediaRecord, sha256: str | None = None
) -> AdoptOutcome:
    """What it means that the id is here already.

    Args:
        sha256: Of the bytes at hand, when they were read.
    """
    wanted = sha256 or item.expected_sha256
    if wanted is not None and not is_stand_in(known.sha256_hash):
        is_same = wanted == known.sha256_hash
    else:
        is_same = item.expected_bytes in (None, known.size_bytes)
    if is_same:
        return AdoptOutcome(Adoption.KNOWN, known.size_bytes)
    return AdoptOutcome(
        Adoption.CONFLICT, detail="the id is here already, with other content"
    )


class AdoptedBody:
    """The bytes of one media, measured against what was announced.

    Attributes:
        size: Bytes so far.
        is_over: Whether nothing more comes.
    """

    def __init__(self, item: AdoptedMedia, chunks: AsyncIterator[bytes]) -> None:
        self._item = item
        self._chunks = chunks
        self.size = 0
        self.is_over = False
        limits = [n for n in (item.expected_bytes, item.max_bytes) if n is not None]
        self._most = min(limits, default=None)

    async def head(self) -> bytes:
        """The first bytes; all of them when there are few."""
        head = bytearray()
        async for chunk in self:
            head += chunk
            if len(head) > MAX_SMALL_BYTES:
                break
        return bytes(head)

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        """What comes next; it ends early when it is too much."""
        try:
            chunk = b"" if self.is_over else await anext(self._chunks)
        except StopAsyncIteration:
            self.is_over = True
            raise
        self.size += len(chunk)
        if self.is_over or self._is_too_long:
            self.is_over = True
            raise StopAsyncIteration
        return chunk

    @property
    def _is_too_long(self) -> bool:
        return self._most is not None and self.size > self._most

    def fault(self) -> AdoptOutcome | None:
        """What is wrong with its length."""
        return length_fault(self._item, self.size)


def length_fault(item: AdoptedMedia, size: int) -> AdoptOutcome | None:
    """What is wrong with so many bytes, or more, if it was cut at the limit."""
    expected, most = item.expected_bytes, item.max_bytes
    if expected is not None and size != expected:
        what = f"more than {expected}" if size > expected else str(size)
        return AdoptOutcome(
            Adoption.DAMAGED, detail=f"it has {what} bytes; {expected} were announced"
        )
    if most is not None and size > most:
        return AdoptOutcome(Adoption.REFUSED, detail=f"it has more than {most} bytes")
    return None


def fault_of(item: AdoptedMedia) -> str | None:
    """Why such a record can't be (R70)."""
    if not (is_valid_server_name(item.origin) and is_valid_media_id(item.media_id)):
        return "its address is not a valid MXC URI"
    for text in (item.content_type, item.upload_name, item.user_id):
        if _NOT_IN_TEXTS.search(text):
            return "a text of it holds characters that no text has"
    if not 0 <= item.creation_ts < 2**63:
        return "its creation time is none"
    return None


def refused(item: AdoptedMedia) -> AdoptOutcome | None:
    """What becomes of a record that can't be."""
    fault = fault_of(item)
    return None if fault is None else AdoptOutcome(Adoption.REFUSED, detail=fault)
