"""A real file system that is soon full."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from unittest import SkipTest

from twisted.trial.unittest import TestCase


def mount_small_disk(case: TestCase, folder: Path, megabytes: int) -> None:
    """Put a file system of that size at a folder, until the test ends.

    Raises:
        SkipTest: we may not.
    """
    mount = shutil.which("mount") or "mount"
    options = ["-t", "tmpfs", "-o", f"size={megabytes}m", "none", str(folder)]
    if subprocess.run([mount, *options], stderr=subprocess.DEVNULL).returncode:
        raise SkipTest("mounting a small file system needs root")
    case.addCleanup(subprocess.run, ["umount", "--lazy", str(folder)], check=True)
