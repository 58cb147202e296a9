"""Listening sockets that stop accepting when the site is full (R69)."""

from __future__ import annotations

from typing import Any

from twisted.internet import tcp, unix
from twisted.internet.interfaces import IReactorCore

from mmr.http.sendfile import FileTransport, UnixFileTransport
from mmr.http.site import MediaSite

_BACKLOG = 512


class _PausingMixin:
    """Accepts as many connections as the site has room for; then waits."""

    factory: MediaSite
    numberAccepts: int

    def doRead(self) -> None:
        """Accept."""
        room = self.factory.free_connections
        if room <= 0:
            self.stopReading()  # type: ignore[attr-defined]
            self.factory.wait_for_room(self)  # type: ignore[arg-type]
            return
        self.numberAccepts = min(self.numberAccepts, room)
        super().doRead()  # type: ignore[misc]


class MediaPort(_PausingMixin, tcp.Port):  # type: ignore[misc]
    """A TCP port whose connections send files."""

    transport = FileTransport


class UnixMediaPort(_PausingMixin, unix.Port):  # type: ignore[misc]
    """A unix socket whose connections send files."""

    transport = UnixFileTransport


def listen_tcp(
    reactor: IReactorCore, port: int, site: MediaSite, interface: str = ""
) -> MediaPort:
    """Listen on an address.

    Args:
        reactor: The reactor.
        port: 0 for any that is free.
        site: Serves the connections.
        interface: The address; empty for all.

    Raises:
        CannotListenError: the address is in use or not ours.
    """
    listener: Any = MediaPort(port, site, _BACKLOG, interface, reactor)
    listener.startListening()
    return listener  # type: ignore[no-any-return]


def listen_unix(
    reactor: IReactorCore, path: str, site: MediaSite, mode: int = 0o660
) -> UnixMediaPort:
    """Listen on a unix socket.

    Raises:
        CannotListenError: somebody else listens there, or the folder is missing.
    """
    listener: Any = UnixMediaPort(path.encode(), site, _BACKLOG, mode, reactor=reactor)
    listener.startListening()
    return listener  # type: ignore[no-any-return]
