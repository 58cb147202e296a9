"""The manual's first page and the systemd unit, as an operator puts them together."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.process import Child, answers, free_port

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/index.md").read_text()
_DATABASE = "/var/lib/mmr/mmr.db"
_GENERATE = re.compile(r"^ +(/opt/mmr/bin/mmr --generate-config .*) > (\S+)$", re.M)


def directive(text: str, name: str) -> str:
    """What the unit says under that name."""
    found = re.search(rf"^{name}=(.*)$", text, re.MULTILINE)
    assert found is not None, name
    return found[1]


class Machine:
    """The folders of the manual, below one of ours."""

    def __init__(self, folder: Path) -> None:
        self.etc, self.lib = folder / "etc", folder / "lib"
        self.etc.mkdir()
        self.lib.mkdir()
        self.log = folder / "output"

    def here(self, command: str) -> list[str]:
        """A command of the manual with this machine's paths."""
        for there, here in (
            ("/opt/mmr/bin/", f"{Path(sys.executable).parent}/"),
            ("/var/lib/mmr", str(self.lib)),
            ("/etc/mmr", str(self.etc)),
        ):
            command = command.replace(there, here)
        return shlex.split(command)

    def configure(self, port: int) -> None:
        """Step 2."""
        found = _GENERATE.search(PAGE)
        assert found is not None
        [target] = self.here(found[2])
        made = subprocess.run(
            self.here(found[1]), capture_output=True, text=True, check=True
        ).stdout
        assert f"`database.sqlite: {_DATABASE}`" in PAGE
        made = made.replace('"mmr.db"', *self.here(_DATABASE), 1)
        made = made.replace("\n  port: 8000\n", f"\n  port: {port}\n", 1)
        # Whoever runs the tests may have a fuller disk than an operator should.
        made = made.replace("  #minFreeBytes: 1073741824", "  minFreeBytes: 0")
        Path(target).write_text(made)
        Path(target).chmod(0o640)

    def start(self, unit: str, environment: dict[str, str]) -> Child:
        """What the service manager does with a unit."""
        text = (ROOT / "contrib/systemd" / unit).read_text().replace("%i", "0")
        command = self.here(directive(text, "ExecStart"))
        [where] = self.here(directive(text, "WorkingDirectory"))
        inside = ["env", "-C", where, *command]
        child = Child(inside, self.log, {**os.environ, **environment})
        child.start()
        return child


@pytest.mark.parametrize("unit", ["mmr.service", "mmr@.service"])
def test_the_units_start_what_the_first_page_configures(
    unit: str, tmp_path: Path
) -> None:
    machine = Machine(tmp_path)
    port = free_port()
    machine.configure(port)
    if "@" in unit:
        (machine.etc / "process-0.yaml").write_text("repo: {logDirectory: logs-0}\n")
    before = {path.name for path in machine.etc.iterdir()}
    child = machine.start(unit, {"MACHINE_ID": "0"})
    try:
        child.wait_until(lambda: answers(port, "/healthz/ready"))
        assert child.stop() in {0, -15}
    finally:
        child.kill()
    # The unit's file system is read-only but for one folder.
    assert {path.name for path in machine.etc.iterdir()} == before
    assert directive((ROOT / "contrib/systemd" / unit).read_text(), "ReadWritePaths")
    logs = "logs-0" if "@" in unit else "logs"
    assert {"mmr.db", "media", logs} <= {path.name for path in machine.lib.iterdir()}
    assert "everybody may read it" not in machine.log.read_text()


def test_the_page_copies_a_unit_that_is_there() -> None:
    copied = re.findall(r"cp (contrib/\S+)", PAGE)
    assert copied
    assert all((ROOT / name).is_file() for name in copied)
