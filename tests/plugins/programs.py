"""Programs for the tests of the ``exec`` protocol."""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path


def program(folder: Path, body: str) -> Path:
    """A program whose ``answer(question, config)`` is given."""
    path = folder / "plugin"
    path.write_text(
        f"#!{sys.executable}\n"
        + "import json, os, sys, time\n"
        + textwrap.dedent(body)
        + textwrap.dedent(
            """
            config = json.loads(sys.stdin.readline())["config"]
            for line in sys.stdin:
                question = json.loads(line)
                reply = answer(question, config)
                if reply is not None:
                    print(json.dumps({"id": question["id"], **reply}), flush=True)
            """
        )
    )
    path.chmod(0o700)
    return path
