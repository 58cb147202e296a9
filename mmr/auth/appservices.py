"""Application services that the configuration names (``accessTokens.appservices``).

MMR looks at them only while the token cache is on. Here ``useLocalAppserviceConfig``
alone decides: a repository without any homeserver yet (the quickstart) needs a token
that works, and a switch that another switch silently turns off helps nobody.
"""

from __future__ import annotations

from mmr.auth.identity import Identity, is_user_of
from mmr.auth.secrets import same_secret
from mmr.config import DomainConfig


def appservice_identity(
    domain: DomainConfig, token: str, asserted: str | None
) -> Identity | None:
    """Whose token this is, by the configuration alone.

    An asserted user counts only if the service is that user or has a namespace that
    matches all of its id (R46), and only on its own server (R45).

    Args:
        domain: The homeserver that the request is for.
        token: The access token.
        asserted: The query's ``user_id``.

    Returns:
        None when the configuration doesn't vouch for anyone: the homeserver may.
    """
    if not domain.access_tokens.use_local_appservice_config:
        return None
    for appservice in domain.access_tokens.appservices:
        if not same_secret(token, appservice.as_token):
            continue
        user_id = asserted or appservice.sender_user_id
        if appservice.owns(user_id) and is_user_of(user_id, domain.name):
            return Identity(user_id)
    return None
