"""Label values come from fixed sets: strangers can't grow our memory (R107).

Where MMR fills a label with what strangers name (``origin``, ``width``), ours has the
configured values and ``other``.
"""

from __future__ import annotations

from collections.abc import Iterable

OTHER = "other"
_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "POST", "PUT", "DELETE"})

_hosts: frozenset[str] = frozenset()
_sizes: frozenset[tuple[int, int]] = frozenset()


def set_label_values(hosts: Iterable[str], sizes: Iterable[tuple[int, int]]) -> None:
    """Name the configured homeservers and thumbnail sizes: at start and on reload."""
    global _hosts, _sizes
    _hosts = frozenset(hosts)
    _sizes = frozenset(sizes)


def host_label(server_name: str) -> str:
    """One of our own servers, or ``other``."""
    return server_name if server_name in _hosts else OTHER


def size_labels(width: int, height: int) -> tuple[str, str]:
    """A configured size, or ``other`` twice."""
    known = (width, height) in _sizes
    return (str(width), str(height)) if known else (OTHER, OTHER)


def method_label(method: str) -> str:
    """A method that some route has, or ``other``."""
    return method if method in _METHODS else OTHER
