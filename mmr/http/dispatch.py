"""From a request to its answer: route, host, access, handler, errors."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Protocol

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionClosed

from mmr.errors import MatrixError, unexpected
from mmr.http.addresses import ClientAddresses
from mmr.http.admission import Limits
from mmr.http.body import ClientGone
from mmr.http.host import HostFinder
from mmr.http.hot import HotAnswer, HotAnswers
from mmr.http.request import MediaRequest
from mmr.http.responses import (
    EmptyResponse,
    MediaResponse,
    Response,
    error_response,
)
from mmr.http.routing import MethodNotAllowed, Route, Router
from mmr.http.sendfile import FileEndedEarly
from mmr.http.streaming import ShortBody
from mmr.logging import RequestInfo, enter_request
from mmr.types import Access, Requester

logger = logging.getLogger(__name__)

_LEFT = (ClientGone, CancelledError, ConnectionClosed)


class RequestGuard(Protocol):
    """Decides who may pass (`mmr.auth`)."""

    def cached(self, request: MediaRequest, access: Access) -> Requester | None:
        """The requester, when that is known without waiting.

        Raises:
            MatrixError: 401 or 403.
        """
        ...

    async def authenticate(self, request: MediaRequest, access: Access) -> Requester:
        """The requester.

        Raises:
            MatrixError: 401, 403, or 5xx when nobody can tell.
        """
        ...

    def proof(self, request: MediaRequest, access: Access) -> Callable[[], bool] | None:
        """What tells later whether the same credentials still mean the same caller.

        Returns:
            None: only `authenticate` can tell.
        """
        ...


class Dispatcher:
    """Answers requests.

    Args:
        router: The routes.
        hosts: Finds the homeserver a request is for.
        addresses: Finds the client's address.
        guard: Decides who may pass.
        limits: Count requests and bytes.
        now: Monotonic seconds.
        finished: Called with each request that is over, answered or not.
    """

    def __init__(
        self,
        router: Router,
        hosts: HostFinder,
        addresses: ClientAddresses,
        guard: RequestGuard,
        limits: Limits,
        now: Callable[[], float],
        finished: Callable[[MediaRequest], None],
    ) -> None:
        self._router = router
        self._hosts = hosts
        self._addresses = addresses
        self._guard = guard
        self._limits = limits
        self._now = now
        self._finished = finished
        self._hot = HotAnswers()

    def start(self, request: MediaRequest, error: MatrixError | None = None) -> None:
        """Begin to answer a request, or to refuse one that can't be read."""
        if error is None:
            self._arrive(request)
            try:
                is_answered = self._hot.answer(request)
            except MatrixError as refusal:
                error, is_answered = refusal, False
            if is_answered:
                request.handled = self._now()
                self._end(request)
                return
        handling = Deferred.fromCoroutine(self._serve(request, error))
        if not handling.called:
            request.handling = handling

    async def _serve(self, request: MediaRequest, error: MatrixError | None) -> None:
        """Answer; whatever goes wrong ends here."""
        try:
            if error is not None:
                await error_response(error).send(request)
            else:
                response = await self._response(request)
                request.handled = self._now()
                await response.send(request)
                if isinstance(response, MediaResponse) and response.is_hot:
                    self._keep(request, response)
        except Exception as failure:
            # A handler may also let through what it has cancelled itself.
            if request.is_gone and isinstance(failure, _LEFT):
                pass
            elif isinstance(failure, ClientGone):
                request.is_gone = True
            else:
                await self._fail(request, failure)
        request.handling = None
        self._end(request)

    def _end(self, request: MediaRequest) -> None:
        request.limits.over(request)
        self._finished(request)
        if not request.is_gone:
            request.finish()

    def _arrive(self, request: MediaRequest) -> None:
        """Find out where the request is from."""
        headers = request.head.headers
        request.client_address = self._addresses.client_of(
            request.peer,
            request.peer_is_trusted,
            headers.get(b"x-forwarded-for", ()),
            request.header(b"x-real-ip"),
        )
        request.limits = self._limits

    def _keep(self, request: MediaRequest, response: MediaResponse) -> None:
        """Remember an answer, for `HotAnswers`."""
        route, etag, replay = request.route, response.etag, response.replay
        if route is None or etag is None or replay is None:
            return
        proof = self._guard.proof(request, route.access)
        if proof is None:
            return
        caching = response.caching_lines()
        answer = HotAnswer(
            route=route,
            host=request.host,
            domain=request.domain,
            requester=request.requester,
            lines=caching + response.media_lines(),
            caching=caching,
            etag=etag,
            is_proven=proof,
            replay=replay,
        )
        self._hot.keep(request, answer)

    async def _response(self, request: MediaRequest) -> Response:
        info = RequestInfo(request.request_id)
        enter_request(info)
        try:
            if request.method == b"OPTIONS":
                return self._options(request)
            try:
                route, parameters = self._find_route(request)
            except (MatrixError, MethodNotAllowed):
                request.limits.unproven(request)
                raise
            if route.access is Access.ANYONE:
                request.limits.unproven(request)
            else:
                info.host = request.host
                requester = self._guard.cached(request, route.access)
                if requester is None:
                    request.limits.unproven(request)
                    requester = await self._guard.authenticate(request, route.access)
                request.requester = requester
                info.requester = requester.log_name
                request.limits.proven(request)
            return await route.handler(request, **parameters)
        except MatrixError as error:
            return error_response(error)
        except MethodNotAllowed as refusal:
            return error_response(refusal.error, [(b"Allow", refusal.allow)])

    def _find_route(self, request: MediaRequest) -> tuple[Route, dict[str, str]]:
        """The route, its parameters and the host that it is for."""
        route, parameters = self._router.match(request.method, request.path_text)
        request.route = route
        if not route.reads_body and request.head.length != 0:
            request.body.ignore()
        request.query.all()
        if route.access is not Access.ANYONE:
            request.host, request.domain = self._hosts.find(
                request.head.headers, request.peer_is_trusted
            )
        return route, parameters

    def _options(self, request: MediaRequest) -> Response:
        allow = self._router.allowed_methods(request.path_text)
        return EmptyResponse(
            [(b"Allow", allow), (b"Access-Control-Allow-Methods", allow)]
        )

    async def _fail(self, request: MediaRequest, failure: Exception) -> None:
        """Say that it is our fault, or break off what was begun (R68, D20)."""
        if isinstance(failure, (ShortBody, FileEndedEarly)):
            logger.error("%s broke off: %r", request.request_id, failure)
        elif not isinstance(failure, MatrixError):
            logger.error("%s failed", request.request_id, exc_info=failure)
        if request.is_started:
            request.abort()
            return
        error = failure if isinstance(failure, MatrixError) else unexpected()
        await error_response(error).send(request)
