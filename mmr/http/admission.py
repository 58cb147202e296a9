"""How much callers may ask for, as the server sees it (`mmr.limits`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from mmr.http.request import MediaRequest


class Limits(Protocol):
    """Counts requests and bytes. Every method but `over` may raise 429.

    A request whose caller is proven is theirs. Until then, and when nobody is ever
    proven, it is the address's: so a stranger with made-up tokens uses up the budget of
    an address only, and callers whose token is known don't depend on that budget.
    """

    def unproven(self, request: MediaRequest) -> None:
        """Charge the address for a request whose caller isn't known (yet)."""
        ...

    def proven(self, request: MediaRequest) -> None:
        """Charge ``request.requester``; the address gets back what it paid."""
        ...

    def reserve(self, request: MediaRequest, size_bytes: int) -> None:
        """Charge the bytes that are about to be sent."""
        ...

    def over(self, request: MediaRequest) -> None:
        """The request is over: give back what was reserved and not sent."""
        ...


class NoLimits:
    """For servers without limits."""

    def unproven(self, request: MediaRequest) -> None:
        """Nothing to charge."""

    def proven(self, request: MediaRequest) -> None:
        """Nothing to charge."""

    def reserve(self, request: MediaRequest, size_bytes: int) -> None:
        """Nothing to charge."""

    def over(self, request: MediaRequest) -> None:
        """Nothing to give back."""
