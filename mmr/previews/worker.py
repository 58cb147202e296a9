"""The worker process: ``python -m mmr.previews.worker LIMITS``.

It confines itself before it sees the first byte of a stranger's page. Whatever goes
wrong ends it: the server makes do with a smaller preview, and starts another.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable

from mmr.previews.model import PageResult
from mmr.previews.oembed import preview_oembed
from mmr.previews.page import preview_page
from mmr.previews.protocol import Job, encode_result
from mmr.util.confined.channel import Channel
from mmr.util.confined.confinement import confine, renew_cpu_limit
from mmr.util.confined.limits import WorkerLimits

Handler = Callable[[Job, bytes], PageResult | None]


def handle(job: Job, data: bytes) -> PageResult | None:
    """Do one job."""
    if not job.is_oembed:
        return preview_page(data, job.hint, job.url, job.options)
    preview = preview_oembed(data, job.url, job.hint, job.options)
    return None if preview is None else PageResult(preview)


def main(handler: Handler = handle) -> None:
    """Confine the process, say how well that went, answer until the server hangs up."""
    limits = WorkerLimits(**json.loads(sys.argv[1]))
    channel = Channel.inherited()
    channel.send({"confinement": confine(limits)})
    while (received := channel.receive(max_files=1)) is not None:
        message, (page,) = received
        renew_cpu_limit(limits.cpu_seconds)
        with open(page, "rb") as file:
            file.seek(0)
            data = file.read()
        channel.send(encode_result(handler(Job.decode(message), data)))


if __name__ == "__main__":
    main()
