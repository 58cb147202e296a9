"""The worker process: ``python -m mmr.thumbnailing.worker LIMITS [PROGRAMS]``.

It lives long, confines itself before it sees the first byte of a stranger's file, and
answers jobs over the socket that is its standard input until that is closed.
"""

from __future__ import annotations

import errno
import json
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import BinaryIO

import attrs
from PIL import Image

from mmr.thumbnailing import programs
from mmr.thumbnailing.blurhash import blurhash_of
from mmr.thumbnailing.model import Refusal, Refused
from mmr.thumbnailing.protocol import Job, Part, Reply
from mmr.thumbnailing.renderers import describe, renderer_for
from mmr.thumbnailing.renderers.drawing import check_decodes
from mmr.thumbnailing.sniff import SNIFF_BYTES, check_type
from mmr.util.confined.channel import Channel
from mmr.util.confined.confinement import confine, renew_cpu_limit
from mmr.util.confined.limits import WorkerLimits

Handler = Callable[[Job, BinaryIO, BinaryIO], Reply]

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


def handle(job: Job, source: BinaryIO, output: BinaryIO) -> Reply:
    """Do one job: look at the source, draw every target into the output.

    Raises:
        Refused: when the source gets no thumbnail. Decoders raise everything else.
    """
    # The limit may be "none": a read of that length would reserve as much memory.
    if source.seek(0, os.SEEK_END) > job.options.max_source_bytes:
        raise Refused(Refusal.TOO_LARGE)
    source.seek(0)
    data = source.read()
    sniffed = check_type(
        data[:SNIFF_BYTES], job.declared_type, job.options.allowed_types
    )
    renderer = renderer_for(sniffed.content_type)
    if job.describe:
        info = describe(renderer, data, job.options)
    else:
        info = renderer.probe(data, job.options)
    if job.blurhash:
        hashed = blurhash_of(renderer, data, job.blurhash, job.options)
        info = attrs.evolve(info, blurhash=hashed)
    parts = []
    if job.targets:
        for drawn in renderer.render(data, job.targets, job.options):
            check_decodes(drawn)
            output.write(drawn.data)
            length = len(drawn.data)
            parts.append(
                Part(
                    drawn.content_type,
                    drawn.width,
                    drawn.height,
                    length,
                    drawn.animated,
                )
            )
    return Reply(info, tuple(parts))


def answer(handler: Handler, job: Job, source: BinaryIO, output: BinaryIO) -> Reply:
    """Do a job whatever happens: a file that makes a decoder fail is a broken file."""
    try:
        reply = handler(job, source, output)
        output.flush()
    except Refused as refused:
        return Reply(refusal=refused.reason)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        return Reply(refusal=Refusal.TOO_LARGE, detail=str(error))
    except MemoryError:
        return Reply(refusal=Refusal.CRASHED, detail="out of memory")
    except Exception as error:
        is_full = isinstance(error, OSError) and error.errno in _FULL
        reason = Refusal.NO_ROOM if is_full else Refusal.BROKEN
        return Reply(refusal=reason, detail=f"{type(error).__name__}: {error}")
    return reply


def serve(channel: Channel, limits: WorkerLimits, handler: Handler) -> None:
    """Answer jobs until the server hangs up."""
    while (received := channel.receive(max_files=2)) is not None:
        message, (source_fd, output_fd) = received
        renew_cpu_limit(limits.cpu_seconds)
        programs.begin_job()
        output = open(output_fd, "wb")
        # What could not be written is in the answer; closing would try it once more.
        with open(source_fd, "rb") as source, suppress(OSError), output:
            reply = answer(handler, Job.decode(message), source, output)
        channel.send(reply.encode())


def main(handler: Handler = handle) -> None:
    """Confine the process, say how well that went, serve."""
    limits = WorkerLimits(**json.loads(sys.argv[1]))
    channel = Channel.inherited()
    Image.preinit()
    given = json.loads(sys.argv[2]) if len(sys.argv) > 2 else {"programs": {}}
    programs.allow(given["programs"])
    may_run = tuple(given["programs"].values())
    confinement = confine(limits, may_run, given.get("readable", ()))
    channel.send({"confinement": confinement})
    serve(channel, limits, handler)


if __name__ == "__main__":
    main()
