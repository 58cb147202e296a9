"""Decides who is asking, and whether a route is open to them (API reference 2.2)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from mmr.auth.appservices import appservice_identity
from mmr.auth.credentials import AuthRequest, Credentials, read_credentials
from mmr.auth.homeserver import HomeserverClients
from mmr.auth.identity import BadToken, Verdict
from mmr.auth.secrets import same_secret
from mmr.auth.tokens import TokenCache
from mmr.config import Config
from mmr.errors import MatrixError, forbidden, guests_forbidden, missing_token
from mmr.types import ANONYMOUS, Access, Requester

_SHARED_SECRET = Requester(
    user_id="@sharedsecret", is_admin=True, is_shared_secret=True
)


class FederationVerifier(Protocol):
    """Checks ``X-Matrix`` signatures."""

    async def verify(self, request: AuthRequest) -> str:
        """The name of the server that signed the request, or a `MatrixError`."""
        ...


class Authenticator:
    """The guard in front of every route.

    Args:
        config: Gives the configuration of this moment.
        homeservers: Who answers for tokens.
        cache: What they answered before.
        federation: Who checks servers; without one, federation routes are closed.
    """

    def __init__(
        self,
        config: Callable[[], Config],
        homeservers: HomeserverClients,
        cache: TokenCache,
        federation: FederationVerifier | None = None,
    ) -> None:
        self._config = config
        self._homeservers = homeservers
        self._cache = cache
        self._federation = federation

    def cached(self, request: AuthRequest, access: Access) -> Requester | None:
        """The caller, if that is known without asking anybody.

        Returns:
            None when `authenticate` has to find out, or to refuse.
        """
        if access is Access.ANYONE:
            return ANONYMOUS
        if access is Access.FEDERATION:
            return None
        try:
            credentials = read_credentials(request)
            if credentials is None:
                return _anonymous(access)
            known = self._known(request, credentials)
            return None if known is None else _admit(known, access)
        except MatrixError:
            return None

    async def authenticate(self, request: AuthRequest, access: Access) -> Requester:
        """The caller, if the route is open to them.

        Raises:
            MatrixError: 401 without a token or with a bad one; 403 when the caller is
                known but not let in (D15, D26); 502 or 503 when the homeserver, who
                would know, is unreachable.
        """
        if access is Access.ANYONE:
            return ANONYMOUS
        if access is Access.FEDERATION:
            return await self._server(request)
        credentials = read_credentials(request)
        if credentials is None:
            return _anonymous(access)
        known = self._known(request, credentials)
        if known is None:
            known = await self._ask(request, credentials)
        return _admit(known, access)

    def proof(self, request: AuthRequest, access: Access) -> Callable[[], bool] | None:
        """What tells later whether the same credentials still mean the same caller.

        A token's answer has to be in the cache still, and the very same; for all else
        the configuration is what counts.

        Returns:
            None: only `authenticate` can tell.
        """
        config = self._config()
        if access is Access.FEDERATION:
            return None
        credentials = read_credentials(request)
        if credentials is None:
            return lambda: self._config() is config
        key = TokenCache.key(
            request.domain.name, credentials.token, credentials.asserted
        )
        verdict = self._cache.get(key)
        if verdict is not None:
            return lambda: self._cache.get(key) is verdict and self._config() is config
        if self._known(request, credentials) is None:
            return None
        return lambda: self._config() is config

    def _known(
        self, request: AuthRequest, credentials: Credentials
    ) -> Requester | BadToken | None:
        if not credentials.is_well_formed:
            return BadToken()
        token, asserted = credentials.token, credentials.asserted
        config = self._config()
        # The cache comes first: it is what the hot path hits. It never holds what the
        # two others know.
        verdict = self._cache.get(TokenCache.key(request.domain.name, token, asserted))
        if verdict is None:
            secret = config.shared_secret_auth
            if secret.enabled and same_secret(token, secret.token):
                return _SHARED_SECRET
            verdict = appservice_identity(request.domain, token, asserted)
        return None if verdict is None else _requester(verdict, token, config)

    async def _ask(
        self, request: AuthRequest, credentials: Credentials
    ) -> Requester | BadToken:
        domain, address = request.domain, request.client_address
        token, asserted = credentials.token, credentials.asserted

        async def whoami() -> Verdict:
            homeserver = self._homeservers.get(domain)
            return await homeserver.whoami(token, asserted, address)

        verdict = await self._cache.ask(
            TokenCache.key(domain.name, token, asserted),
            asserted,
            domain.access_tokens.max_cache_time_seconds,
            whoami,
        )
        return _requester(verdict, token, self._config())

    async def _server(self, request: AuthRequest) -> Requester:
        if self._federation is None:
            raise MatrixError(
                401, "M_UNAUTHORIZED", "no auth provided (required)", "M_MISSING_TOKEN"
            )
        return Requester(server=await self._federation.verify(request))


def _requester(verdict: Verdict, token: str, config: Config) -> Requester | BadToken:
    if isinstance(verdict, BadToken):
        return verdict
    return Requester(
        user_id=verdict.user_id,
        is_guest=verdict.is_guest,
        is_admin=verdict.user_id in config.admins,
        token=token,
    )


def _anonymous(access: Access) -> Requester:
    if access is Access.OPTIONAL:
        return ANONYMOUS
    raise missing_token()


def _admit(caller: Requester | BadToken, access: Access) -> Requester:
    """The columns of the reference's table of wrappers, for callers with a token."""
    if isinstance(caller, BadToken):
        if access is Access.OPTIONAL:
            return ANONYMOUS
        raise caller.error()
    if caller.is_guest and access is not Access.USER_OR_GUEST:
        raise guests_forbidden()
    if access is Access.REPO_ADMIN and not caller.is_admin:
        raise forbidden()
    return caller
