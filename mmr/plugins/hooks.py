"""The hooks of the configuration, asked one after the other."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Hashable, Sequence
from typing import Any

import attrs

from twisted.internet.defer import CancelledError, Deferred, DeferredSemaphore
from twisted.internet.error import TimeoutError as OverTime

from mmr.errors import not_permitted, unavailable
from mmr.plugins.base import CheckFailed, FileToCheck, Plugin
from mmr.util.clock import Clock

logger = logging.getLogger(__name__)

_MAX_RUNNING = 16
_MAX_WAITING = 500
_MAX_VERDICTS = 20_000
# Signatures are updated: what was fine isn't so for ever.
_VERDICT_SECONDS = 3600.0


@attrs.frozen
class Hook:
    """A plugin and what the operator says about it.

    Attributes:
        refuses_on_failure: Files that can't be checked are refused.
        timeout_s: For one file.
    """

    plugin: Plugin
    refuses_on_failure: bool
    timeout_s: float


class Hooks:
    """Asks all plugins; the first that refuses ends it.

    Verdicts are remembered by hash for a while. Failures are not.

    Args:
        hooks: In the order of the configuration.
        clock: For the limits in time.
        reactor: Likewise.
    """

    def __init__(self, hooks: Sequence[Hook], clock: Clock, reactor: Any) -> None:
        self._hooks = hooks
        self._clock = clock
        self._reactor = reactor
        self._slots = DeferredSemaphore(_MAX_RUNNING)
        self._verdicts: OrderedDict[Hashable, tuple[float, bool]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._hooks)

    @property
    def demand_to_see(self) -> bool:
        """Whether a file that can't be shown to one of them is refused."""
        return any(hook.refuses_on_failure for hook in self._hooks)

    def replace(self, hooks: Sequence[Hook]) -> None:
        """Take over a changed configuration: the old plugins end (D53)."""
        old, self._hooks = self._hooks, hooks
        self._verdicts.clear()
        for hook in old:
            Deferred.fromCoroutine(hook.plugin.stop())

    async def stop(self) -> None:
        """End all plugins."""
        for hook in self._hooks:
            await hook.plugin.stop()

    async def check(self, file: FileToCheck) -> None:
        """Ask about a file.

        Raises:
            MatrixError: 403 when a plugin refuses it; 503 when it can't be checked and
                the policy is to refuse.
        """
        for hook in self._hooks:
            key = (id(hook), file.sha256, hook.plugin.context(file.info))
            refused = self._known(key)
            if refused is None:
                refused = await self._ask(hook, key, file)
            if refused:
                logger.info(
                    "%s refuses %s (%s) of %s",
                    hook.plugin.name,
                    file.info.file_id,
                    file.sha256,
                    file.info.user_id or file.info.origin,
                )
                raise not_permitted()

    def _known(self, key: Hashable) -> bool | None:
        found = self._verdicts.get(key)
        if found is None or found[0] <= self._clock.monotonic():
            return None
        return found[1]

    async def _ask(self, hook: Hook, key: Hashable, file: FileToCheck) -> bool:
        if len(self._slots.waiting) >= _MAX_WAITING:
            raise unavailable("The server is busy (plugins). Try again later.")
        await self._slots.acquire()
        try:
            checking = Deferred.fromCoroutine(hook.plugin.check(file))
            checking.addTimeout(hook.timeout_s, self._reactor)
            refused = await checking
        except CancelledError:
            raise
        except Exception as error:
            return self._failed(hook, error)
        finally:
            self._slots.release()
        self._verdicts[key] = self._clock.monotonic() + _VERDICT_SECONDS, refused
        self._verdicts.move_to_end(key)
        if len(self._verdicts) > _MAX_VERDICTS:
            self._verdicts.popitem(last=False)
        return refused

    def _failed(self, hook: Hook, error: Exception) -> bool:
        name = hook.plugin.name
        if isinstance(error, OverTime):
            logger.error("%s took more than %g s", name, hook.timeout_s)
        elif isinstance(error, CheckFailed):
            logger.error("%s failed: %s", name, error)
        else:
            logger.error("%s failed", name, exc_info=error)
        if hook.refuses_on_failure:
            raise unavailable("The file can't be checked now. Try again later.")
        return False
