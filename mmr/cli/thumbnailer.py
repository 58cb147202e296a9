"""``mmr-thumbnailer``: a file in, a thumbnail out, no server (mmr-tools.md §8)."""

from __future__ import annotations

import logging
import os
import signal
import sys
import tempfile
from argparse import ArgumentTypeError, Namespace
from collections.abc import Sequence
from pathlib import Path

from mmr.cli.arguments import Arguments
from mmr.config import config_paths, load_config
from mmr.config.environment import DEFAULT_PATH
from mmr.config.thumbnails import ThumbnailsConfig
from mmr.errors import ConfigError, MatrixError
from mmr.media.thumbnails import render_options
from mmr.thumbnailing.desk import Desk
from mmr.thumbnailing.model import (
    MAX_SIDE,
    Refusal,
    Refused,
    Rendered,
    refusal_error,
)
from mmr.thumbnailing.process import WORKER_COMMAND
from mmr.thumbnailing.protocol import Job
from mmr.thumbnailing.sizes import TargetSize
from mmr.thumbnailing.sniff import SNIFF_BYTES, sniff
from mmr.types import Method
from mmr.util.confined.limits import WorkerLimits

logger = logging.getLogger(__name__)

_EXAMPLES = """\
  mmr-thumbnailer -i photo.jpg -o small.jpg
  mmr-thumbnailer -config /etc/mmr/media-repo.yaml -i cat.gif -o cat.png -w 96 -h 96 \
-m crop
  mmr-thumbnailer -i dance.gif -o small.gif -a

exit status: 0 when the thumbnail was written, 1 when there is none, 2 for a mistake
on the command line or in the configuration
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program; returns its exit status."""
    options = _parser().parse_args(arguments)
    # A service manager's signal, too, shall leave nothing behind.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, format="%(levelname)s %(message)s"
    )
    try:
        settings = _settings(options.config)
    except ConfigError as error:
        print(f"mmr-thumbnailer: {error}", file=sys.stderr)
        return 2
    try:
        _make(options, settings)
    except (Refused, MatrixError, OSError) as error:
        print(f"mmr-thumbnailer: {_sentence(error)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 1
    return 0


def _parser() -> Arguments:
    parser = Arguments(
        "mmr-thumbnailer",
        "Make a thumbnail of a file the way the server does: same settings, same"
        " limits, same confinement.",
        _EXAMPLES,
    )
    parser.flag(
        "config",
        "configuration file or folder, for the `thumbnails` section (default: "
        f"$REPO_CONFIG, else {DEFAULT_PATH} if it is there, else the defaults)",
        type=Path,
        metavar="PATH",
    )
    parser.flag("i", "the file to read", required=True, type=Path, metavar="FILE")
    parser.flag("o", "the file to write", required=True, type=Path, metavar="FILE")
    parser.flag("w", "width (default: 512)", type=_side, default=512, metavar="PIXELS")
    parser.flag("h", "height (default: 512)", type=_side, default=512, metavar="PIXELS")
    methods = tuple(method.value for method in Method)
    parser.flag("m", "scale (default) or crop", choices=methods, default="scale")
    parser.switch("a", "keep it animated")
    parser.flag("f", "the type of the file, which it must agree with", metavar="TYPE")
    parser.switch("dryRun", "draw it, but write nothing")
    return parser


def _side(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) <= MAX_SIDE:
        raise ArgumentTypeError(f"expected 1 to {MAX_SIDE}, found {text!r}")
    return int(text)


def _settings(given: Path | None) -> ThumbnailsConfig:
    """The ``thumbnails`` section, or the defaults when no configuration is named."""
    paths = config_paths([given] if given else [], os.environ)
    if paths == [DEFAULT_PATH] and not DEFAULT_PATH.exists():
        return ThumbnailsConfig()
    return load_config(paths).thumbnails


def _make(options: Namespace, settings: ThumbnailsConfig) -> None:
    with open(options.i, "rb") as source:
        sniffed = sniff(source.read(SNIFF_BYTES))
    found = sniffed.content_type if sniffed else "application/octet-stream"
    logger.info(
        "%s: %s, as %d x %d, %s, animated: %s",
        options.i,
        found,
        options.w,
        options.h,
        options.m,
        options.a,
    )
    target = TargetSize(options.w, options.h, Method(options.m), animated=options.a)
    job = Job(options.f or found, (target,), render_options(settings))
    rendered = _render(options.i, job)
    if not options.dryRun:
        options.o.write_bytes(rendered.data)
    logger.info(
        "%s: %s, %d x %d, animated: %s",
        options.o,
        rendered.content_type,
        rendered.width,
        rendered.height,
        rendered.animated,
    )


def _render(source: Path, job: Job) -> Rendered:
    with tempfile.TemporaryDirectory(prefix="mmr-thumbnailer-") as folder:
        desk = Desk(WORKER_COMMAND, WorkerLimits(), Path(folder))
        try:
            return desk.run(source, job).rendered[0]
        finally:
            desk.close()


def _sentence(error: Exception) -> str:
    if isinstance(error, Refused):
        if error.reason is Refusal.UNSUPPORTED:
            return f"{refusal_error(error.reason)}; is it in `thumbnails.types`?"
        error = refusal_error(error.reason)
    return error.message if isinstance(error, MatrixError) else str(error)


if __name__ == "__main__":
    sys.exit(main())
