"""A preview worker that a page has taken over; a page starting with "!" steers it.

Run as ``python -m tests.previews.hostile_worker``.
"""

from __future__ import annotations

import ctypes
import os
import time

from mmr.previews.model import ImageCandidate, PageResult, Preview
from mmr.previews.protocol import Job
from mmr.previews.worker import handle, main


def misbehave(job: Job, data: bytes) -> PageResult | None:
    """Do what the page says, or the honest work."""
    if not data.startswith(b"!"):
        return handle(job, data)
    order = data[1:].decode()
    if order == "segfault":
        ctypes.string_at(0)
    elif order == "spin":
        while True:
            pass
    elif order == "hang":
        time.sleep(60)
    elif order == "allocate":
        bytearray(2 << 30)
    elif order == "raise":
        raise ValueError("a bug")
    elif order == "lie":
        return PageResult(
            Preview(
                "https://b.example/",
                title="\u202e" + "x" * 5000,
                images=(ImageCandidate("https://i.example/", -1, 10**9),) * 20,
            )
        )
    elif order == "scheme":
        return PageResult(Preview("javascript:alert(1)"))
    elif order == "type":
        return PageResult(Preview(job.url, title=1))  # type: ignore[arg-type]
    return PageResult(Preview(job.url, title=_probe(order)))


def _probe(order: str) -> str:
    if order == "environment":
        return " ".join(sorted(os.environ))
    try:
        with open("file", "w") as file:
            file.write("x")
    except OSError as error:
        return f"refused: {error.strerror}"
    return "written"


if __name__ == "__main__":
    main(misbehave)
