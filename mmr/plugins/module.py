"""Python modules with Synapse's callback for media (synapse-internals §1.23)."""

from __future__ import annotations

import enum
import importlib
import inspect
import os
from collections.abc import Awaitable, Callable, Hashable
from typing import Any

from twisted.internet.defer import Deferred

from mmr.errors import ConfigError
from mmr.plugins.base import NOT_SPAM, FileInfo, FileToCheck
from mmr.util.threads import Runner

_CHUNK_BYTES = 16 * 1024

Callback = Callable[["FileWrapper", FileInfo], Awaitable[Any]]


class FileWrapper:
    """The file, as a callback reads it.

    Attributes:
        path: For what reads files by itself. Only in a thread: it blocks.
    """

    def __init__(self, file: FileToCheck, threads: Runner) -> None:
        self.path = str(file.path)
        self.size = file.size
        self.sha256 = file.sha256
        self._threads = threads

    async def write_chunks_to(self, callback: Callable[[bytes], object]) -> None:
        """Give the callback the bytes, piece by piece."""
        descriptor = await self._threads.run(os.open, self.path, os.O_RDONLY)
        try:
            offset = 0
            while data := await self._threads.run(
                os.pread, descriptor, _CHUNK_BYTES, offset
            ):
                offset += len(data)
                callback(data)
        finally:
            os.close(descriptor)


class ModuleApi:
    """The part of Synapse's ``ModuleApi`` that media checks use."""

    NOT_SPAM = NOT_SPAM

    def __init__(self) -> None:
        self.callback: Callback | None = None

    def register_spam_checker_callbacks(
        self, check_media_file_for_spam: Callback | None = None, **others: Any
    ) -> None:
        """Register the callback. Those that aren't about media are never called."""
        if check_media_file_for_spam is not None:
            self.callback = check_media_file_for_spam


class ModulePlugin:
    """A class by its dotted path: ``Class(config, api)``, or ``Class(config)``.

    It registers ``check_media_file_for_spam`` with the api, or just has a method of
    that name. ``parse_config``, if there is one, gets the configuration first.

    Args:
        path: Such as ``my_spam_checks.Checker``.
        config: The plugin's own.
        threads: For reading files.

    Raises:
        ConfigError: the class can't be had, or doesn't want the configuration.
    """

    def __init__(self, path: str, config: dict[str, Any], threads: Runner) -> None:
        self.name = f"Module {path}"
        self._threads = threads
        try:
            self._callback = _callback_of(path, config)
        except ConfigError:
            raise
        except Exception as error:
            raise ConfigError(
                f"{path} can't be used: {type(error).__name__}: {error}", key="plugins"
            ) from error

    def context(self, info: FileInfo) -> Hashable:
        """A module may look at anything but the id."""
        return info.origin, info.user_id, info.content_type, info.upload_name

    async def check(self, file: FileToCheck) -> bool:
        """See `Plugin.check`."""
        result = self._callback(FileWrapper(file, self._threads), file.info)
        if isinstance(result, Deferred) or inspect.isawaitable(result):
            result = await result
        return is_spam(result)

    async def stop(self) -> None:
        """Nothing runs for it."""


def is_spam(result: Any) -> bool:
    """What Synapse takes an answer for: whatever isn't a clear no is a yes."""
    if result is False or result is NOT_SPAM or result == "NOT_SPAM":
        return False
    # Synapse's own NOT_SPAM, where a module brings it.
    return not (isinstance(result, enum.Enum) and result.name == "NOT_SPAM")


def _callback_of(path: str, config: dict[str, Any]) -> Callback:
    module, dot, name = path.rpartition(".")
    if not dot:
        raise ConfigError(
            f"{path!r} is no dotted path of a class, nor one of `clamav`, `ocr`",
            key="plugins",
        )
    # The operator names it in a file that only the operator may write.
    cls = getattr(importlib.import_module(module), name)
    parsed = cls.parse_config(config) if hasattr(cls, "parse_config") else config
    api = ModuleApi()
    wants_api = len(inspect.signature(cls).parameters) > 1
    instance = cls(parsed, api) if wants_api else cls(parsed)
    callback = api.callback or getattr(instance, "check_media_file_for_spam", None)
    if callback is None:
        raise ConfigError(f"{path} has no check_media_file_for_spam", key="plugins")
    found: Callback = callback
    return found
