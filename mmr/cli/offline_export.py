"""What the programs that export a homeserver's files have in common (mmr-tools §4)."""

from __future__ import annotations

import sys
import time
from argparse import ArgumentTypeError, Namespace
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

from mmr.archives.folder import FolderArchive, FolderInUse
from mmr.cli.arguments import Arguments
from mmr.cli.moving import human, one_line
from mmr.cli.offline import FOUND, MISTAKE, OK
from mmr.cli.progress import ProgressBar
from mmr.errors import StartupError
from mmr.interop.media_folder import MediaFolder
from mmr.tasks.offline_export import Missing, OfflineExport, Row
from mmr.types import Mxc, is_valid_server_name

_DESTINATION = "./media-export"
_MEDIA_DIRECTORY = "./media_store"
_PART_BYTES = 104_857_600

STATUS_HELP = """\
Import it with mmr-gdpr-import, or with matrix-media-repo's gdpr_import.

Each media that is left out is one line on standard output: `failed`, its address, why.
Without -skipMissing the first file that is missing or can't be read ends the run. Run
it again to go on where it stopped; -restart begins anew.

exit status: 0 when all is well, 1 when some media was left out, 2 for a mistake or when
the run ended early
"""


def add_flags(parser: Arguments, setting: str) -> None:
    """Add MMR's flags, and ours.

    Args:
        setting: What the homeserver calls its media folder.
    """
    name = "the homeserver's name, as in user ids (localhost)"
    parser.flag("serverName", name, type=_server_name, default="localhost")
    parser.flag("templates", "accepted for MMR's sake; not used", default="")
    parser.flag(
        "destination", f"folder for the archive ({_DESTINATION})", type=Path,
        default=Path(_DESTINATION),
    )  # fmt: skip
    parser.flag(
        "partSize", f"bytes of media in a part, about ({_PART_BYTES})",
        type=_part_bytes, default=_PART_BYTES,
    )  # fmt: skip
    parser.flag("mediaDirectory", f"{setting} ({_MEDIA_DIRECTORY})", type=Path)
    parser.switch("skipMissing", "go on when a file is missing")
    parser.switch("debug", "accepted for MMR's sake; not used")
    parser.switch("prettyLog", "accepted for MMR's sake; not used")
    parser.switch("restart", "forget what an earlier run has done so far")
    parser.switch("dryRun", "write nothing; look for the files")


def media_directory(options: Namespace) -> Path:
    """The homeserver's media folder."""
    return options.mediaDirectory or Path(_MEDIA_DIRECTORY)


def _server_name(text: str) -> str:
    if is_valid_server_name(text):
        return text
    raise ArgumentTypeError(f"{text!r} is not a server name")


def _part_bytes(text: str) -> int:
    if text.isdecimal() and int(text) > 0:
        return int(text)
    raise ArgumentTypeError(f"expected a number of bytes, found {text!r}")


def run(prepare: Callable[[], int]) -> int:
    """Do the work; tells the operator how it failed. Gives the exit status."""
    try:
        return prepare()
    except Missing as error:
        print(f"{error}\nWith -skipMissing it is left out.", file=sys.stderr)
    except (StartupError, FolderInUse) as error:
        print(error, file=sys.stderr)
    except OSError as error:
        print(f"{error.filename or 'cannot write'}: {error.strerror}", file=sys.stderr)
    except KeyboardInterrupt:
        print("broken off; run it again to go on", file=sys.stderr)
    return MISTAKE


def export(
    options: Namespace,
    server_name: str,
    folder: MediaFolder,
    rows: Callable[[str], Iterable[Row]],
    total: int,
) -> int:
    """Write the archive, or only look. Gives the exit status.

    Raises:
        Missing, StartupError, FolderInUse, OSError: the run ends early.
    """
    told = _Told(ProgressBar("media", total), "found" if options.dryRun else "exported")
    work = OfflineExport(folder, told, skip_missing=options.skipMissing)
    try:
        if options.dryRun:
            work.look(rows)
        else:
            _write(options, server_name, work, rows)
    finally:
        told.finish()
    return FOUND if work.failed else OK


def _write(
    options: Namespace,
    server_name: str,
    work: OfflineExport,
    rows: Callable[[str], Iterable[Row]],
) -> None:
    now_ms = int(time.time() * 1000)
    archive = FolderArchive(
        options.destination, server_name, now_ms, restart=options.restart
    )
    if archive.is_continued:
        print("going on with an unfinished export", file=sys.stderr)
    try:
        work.write(rows, archive, options.partSize)
    finally:
        archive.close()


class _Told:
    """Counts under a progress bar, and names what fails."""

    def __init__(self, bar: ProgressBar, word: str) -> None:
        self._bar = bar
        self._word = word
        self._counts: Counter[str] = Counter()
        self._size_bytes = 0

    def skipped(self, reason: str) -> None:
        """See `Told.skipped`."""
        self._note(reason)

    def done(self, size_bytes: int) -> None:
        """See `Told.done`."""
        self._size_bytes += size_bytes
        self._note(self._word)

    def failed(self, mxc: Mxc, why: str) -> None:
        """See `Told.failed`."""
        self._bar.clear()
        print(f"failed\t{one_line(str(mxc))}\t{one_line(why)}", flush=True)
        self._note("failed")

    def finish(self) -> None:
        """Say how many there were."""
        self._bar.finish()
        for word, count in sorted(self._counts.items()):
            print(f"{word}: {count}", file=sys.stderr)
        print(f"together: {human(self._size_bytes)}", file=sys.stderr)

    def _note(self, word: str) -> None:
        self._counts[word] += 1
        self._bar.add(1)
