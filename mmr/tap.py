"""``twistd mmr``: options, the service tree, start, stop, reload."""

from __future__ import annotations

import gc
import logging
import os
import signal
import sys
from pathlib import Path
from typing import Any

from twisted.application.service import IServiceCollection, MultiService
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort
from twisted.internet.task import LoopingCall
from twisted.logger import ILogObserver, STDLibLogObserver
from twisted.python import components, usage

from mmr import __version__
from mmr.config import Config, config_paths, load_config, machine_id, restart_needed
from mmr.config.generate import generate_config
from mmr.config.watch import ConfigWatcher, files_state
from mmr.errors import ConfigError, StartupError
from mmr.http.listen import listen_tcp
from mmr.logging import setup_logging
from mmr.logging.sentry import setup_sentry
from mmr.metrics import metrics_site
from mmr.rest.profiling import SECRET as PROFILING_SECRET
from mmr.rest.profiling import profiling_secret
from mmr.server import MediaRepoServer
from mmr.thumbnailing import codecs
from mmr.thumbnailing.programs import describe_programs
from mmr.util import systemd

logger = logging.getLogger(__name__)


class Options(usage.Options):
    """What must be known before the configuration is read."""

    synopsis = "[options]"
    longdesc = "Matrix media repository server."
    optFlags = [
        ["strict", None, "Treat unknown configuration keys as errors."],
        ["generate-config", None, "Print a configuration to start from, and exit."],
        ["check-config", None, "Read the configuration, say what is wrong, and exit."],
    ]
    optParameters = [
        ["server-name", "H", "localhost", "Server name for --generate-config."],
        ["bind-address", None, "127.0.0.1", "Likewise: where to listen."],
        ["store-path", None, "media", "Likewise: folder of the media."],
    ]

    def __init__(self) -> None:
        super().__init__()
        self.paths: list[Path] = []
        self.config: Config | None = None
        self.machine_id = 0
        self.assets: Path | None = None

    def opt_config_path(self, path: str) -> None:
        """A configuration file, or a folder of them. May be given several times."""
        if not path:
            # Else it would be the folder that we happen to be started in.
            raise usage.UsageError("--config-path: expected a file or a folder")
        # Absolute now: twistd may change to another folder before we read it again.
        self.paths.append(Path(path).absolute())

    opt_c = opt_config_path

    def opt_assets(self, path: str) -> None:
        """A folder whose providers.json takes the place of our oEmbed list."""
        self.assets = Path(path).absolute()

    def opt_version(self) -> None:
        """Print the version, and exit."""
        print(f"mmr {__version__}")
        raise SystemExit(0)

    def postOptions(self) -> None:
        """Read the configuration; a mistake in it is a usage error, not a traceback."""
        if self["generate-config"]:
            text = generate_config(
                self["server-name"],
                bind_address=self["bind-address"],
                store_path=self["store-path"],
            )
            print(text, end="")
            raise SystemExit(0)
        self.paths = [path.absolute() for path in config_paths(self.paths, os.environ)]
        try:
            self.machine_id = machine_id(os.environ)
            profiling_secret(os.environ)
            self.config = load_config(self.paths, strict=bool(self["strict"]))
        except ConfigError as error:
            # Not a UsageError: the list of options would hide the mistake. This prints
            # the text on stderr and exits with 1.
            raise SystemExit(str(error)) from None
        if self["check-config"]:
            for warning in self.config.warnings:
                print(f"warning: {warning}")
            print(f"Optional formats for thumbnails: {codecs.sentence()}")
            print(f"The configuration is good: {', '.join(map(str, self.paths))}")
            raise SystemExit(0)


class MmrService(MultiService):
    """Starts the server when the reactor runs, and stops it gracefully.

    Args:
        paths: Where the configuration was read from.
        config: What it says.
        number: ``MACHINE_ID``.
        reactor: The reactor.
        assets: See `mmr.server.previewing`.
    """

    def __init__(
        self,
        paths: list[Path],
        config: Config,
        number: int,
        reactor: Any,
        assets: Path | None = None,
    ) -> None:
        super().__init__()
        self._paths = paths
        self._state = files_state(paths)
        self._config = config
        self._number = number
        self._reactor = reactor
        self._assets = assets
        self._server: MediaRepoServer | None = None
        self._watcher: ConfigWatcher | None = None
        self._port: IListeningPort | None = None
        self._metrics_port: IListeningPort | None = None
        self._watchdog: LoopingCall | None = None

    def setServiceParent(self, parent: IServiceCollection) -> None:
        """Have Twisted's own log lines go through the standard library's handlers."""
        super().setServiceParent(parent)
        if isinstance(parent, components.Componentized):
            parent.setComponent(ILogObserver, STDLibLogObserver())

    def startService(self) -> None:
        """Begin to start; the rest waits for the reactor."""
        super().startService()
        # Python's default action for SIGHUP is to die.
        signal.signal(
            signal.SIGHUP,
            lambda *_: self._reactor.callFromThread(self._reload_on_signal),
        )
        self._reactor.callWhenRunning(
            lambda: Deferred.fromCoroutine(self._start_or_exit())
        )

    async def _start_or_exit(self) -> None:
        try:
            await self._start()
        except (StartupError, ConfigError) as error:
            self._exit_with_failure("Not starting: %s", error)
        except Exception:
            logger.exception("Not starting because of an unexpected error")
            self._exit_with_failure("Not starting")

    def _exit_with_failure(self, message: str, *args: object) -> None:
        logger.critical(message, *args)
        logging.shutdown()
        self._reactor.addSystemEventTrigger("after", "shutdown", os._exit, 1)
        self._reactor.stop()

    async def _start(self) -> None:
        server = MediaRepoServer(self._config, self._reactor, self._number)
        server.assets = self._assets
        _say_what_is_configured(self._config, self._number)
        await server.start()
        self._server = server
        confinement = await server.thumbnail_pool.describe()
        logger.info("Decoding workers are confined: %s", ", ".join(confinement))
        logger.info("Optional formats for thumbnails: %s", codecs.sentence())
        for line in describe_programs(_thumbnailed_types(self._config)):
            logger.info("Thumbnails of %s", line)
        _relieve_collector()
        self._listen(self._config)
        self._watcher = ConfigWatcher(
            self._paths, server.clock, server.files, self._reload, self._state
        )
        self._watcher.start()
        systemd.notify("READY=1")
        # Not waited for: the homeserver may start after us.
        Deferred.fromCoroutine(server.check_own_keys()).addErrback(
            lambda failure: logger.error("Checking the keys failed: %s", failure)
        )
        self._feed_watchdog()
        logger.info("mmr %s is ready", __version__)

    def _listen(self, config: Config) -> None:
        assert self._server is not None
        repo, metrics = config.repo, config.metrics
        self._port = _bound(
            "repo.port",
            lambda: listen_tcp(
                self._reactor, repo.port, self._server.site, repo.bind_address
            ),
        )
        logger.info("Listening on %s port %d", repo.bind_address, repo.port)
        if metrics.enabled:
            self._metrics_port = _bound(
                "metrics.port",
                lambda: self._reactor.listenTCP(
                    metrics.port, metrics_site(), interface=metrics.bind_address
                ),
            )

    def _feed_watchdog(self) -> None:
        """Tell systemd that the reactor turns, twice as often as it wants to know."""
        interval_us = int(os.environ.get("WATCHDOG_USEC", "0") or 0)
        if interval_us > 0:
            self._watchdog = LoopingCall(systemd.notify, "WATCHDOG=1")
            self._watchdog.start(interval_us / 2e6)

    def _reload_on_signal(self) -> None:
        logger.info("SIGHUP: reading the configuration again")
        Deferred.fromCoroutine(self._reload())

    async def _reload(self) -> None:
        """Read the configuration again; on a mistake the running one stays."""
        server = self._server
        if server is None:
            return
        old = server.config
        try:
            config = await server.files.run(load_config, self._paths)
            server.reload(config)
        except (ConfigError, StartupError) as error:
            logger.error("The changed configuration is not used: %s", error)
            return
        for warning in config.warnings:
            logger.warning("%s", warning)
        for key in restart_needed(old, config):
            logger.warning("The change of %s takes effect after a restart", key)
        logger.info("The configuration was reloaded")

    async def _stop(self) -> None:
        systemd.notify("STOPPING=1")
        if self._watchdog is not None:
            self._watchdog.stop()
        if self._watcher is not None:
            self._watcher.stop()
        for port in (self._port, self._metrics_port):
            if port is not None:
                await _stopped(port)
        if self._server is not None:
            await self._server.stop()
        logger.info("Stopped")

    def stopService(self) -> Deferred[None]:
        """Stop listening, let running requests finish, end everything."""
        super().stopService()
        return Deferred.fromCoroutine(self._stop())


def _relieve_collector() -> None:
    """Let Python look for cycles less often, and not in what stays for good.

    With its defaults that was a tenth of the time of an import.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


def makeService(options: Options) -> MmrService:
    """Build the service. Nothing is opened here: twistd may still fork."""
    from twisted.internet import reactor

    config = options.config
    if config is None:
        raise usage.UsageError("no configuration")
    try:
        setup_logging(config.repo)
        setup_sentry(config.sentry, f"mmr@{__version__}")
    except ConfigError as error:
        print(error, file=sys.stderr)
        raise SystemExit(1) from None
    for warning in config.warnings:
        logger.warning("%s", warning)
    return MmrService(
        options.paths, config, options.machine_id, reactor, options.assets
    )


def _thumbnailed_types(config: Config) -> set[str]:
    sections = (config, *config.domains.values())
    return {name for section in sections for name in section.thumbnails.types}


def _bound(key: str, listen: Any) -> IListeningPort:
    try:
        port: IListeningPort = listen()
    except CannotListenError as error:
        raise StartupError(
            f"{key}: can't listen on {error.interface or 'any'} port {error.port}: "
            f"{error.socketError}. Choose another port, or stop what listens there."
        ) from error
    return port


async def _stopped(port: IListeningPort) -> None:
    stopping = port.stopListening()
    if stopping is not None:
        await stopping


def _say_what_is_configured(config: Config, number: int) -> None:
    logger.info("mmr %s, machine id %d", __version__, number)
    if os.environ.get(PROFILING_SECRET):
        logger.warning("%s is set: whoever knows it may profile us", PROFILING_SECRET)
    for domain in config.domains.values():
        logger.info("Homeserver %s at %s", domain.name, domain.cs_api)
