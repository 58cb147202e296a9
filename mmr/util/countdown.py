"""Waiting for several things that others finish, one after the other."""

from __future__ import annotations

import attrs

from twisted.internet.defer import Deferred


@attrs.define(eq=False)
class Countdown:
    """Who waits for some things.

    Attributes:
        left: How many are not done.
        done: Fires when all are.
    """

    left: int
    done: Deferred[None] = attrs.Factory(lambda: Deferred(lambda _: None))

    def settle(self) -> None:
        """One more of them is done."""
        self.left -= 1
        # Whoever was cancelled has been told so.
        if not self.left and not self.done.called:
            self.done.callback(None)
