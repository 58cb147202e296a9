"""sd_notify(3)."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from mmr.util.systemd import notify


def test_nothing_happens_outside_of_systemd(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    notify("READY=1")


@pytest.mark.parametrize("is_abstract", [False, True])
def test_the_state_arrives(
    is_abstract: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = f"{tmp_path}/notify"
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind("\0" + address[-60:] if is_abstract else "notify")
        named = "@" + address[-60:] if is_abstract else "notify"
        monkeypatch.setenv("NOTIFY_SOCKET", named)
        notify("READY=1")
        assert receiver.recv(100) == b"READY=1"
