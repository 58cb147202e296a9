"""How long work says how far it is."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

Report = Callable[[int], Awaitable[None]]
"""Told how many are done so far. It raises to have the work stop."""


async def silent(done: int) -> None:
    """For work that nobody watches."""
