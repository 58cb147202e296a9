"""``accessTokens`` and ``sharedSecretAuth``: who is let in."""

from __future__ import annotations

from pydantic import model_validator

from mmr.config._base import Mark, Section, setting
from mmr.config._patterns import Namespace
from mmr.config._values import FilePath, Flag, Int, Text, UserId, problem

_MIN_SECRET = 16
# What the samples of MMR hold in the place of a secret.
_PLACEHOLDERS = {
    "replaceme",
    "putsomerandomsecurevaluehere",
    "secret_token_for_appservices_to_use",
}


def is_weak(secret: str) -> bool:
    """Whether a secret is empty, a placeholder or too short to be enabled (R43)."""
    return len(secret) < _MIN_SECRET or secret.lower() in _PLACEHOLDERS


WEAK_ADVICE = (
    f"is a placeholder or shorter than {_MIN_SECRET} characters; "
    "put the output of `openssl rand -hex 32` there"
)


class SharedSecretConfig(Section):
    """A token of our own that has the rights of a repository admin."""

    enabled: Flag = setting(False, "Accept the token below.", True)
    token: Text = setting(
        "ReplaceMe",
        "The token; 16 characters or more. It acts as the user `@sharedsecret`.",
        "Yk3vO0W6m1cUq9rT8sXz",
        Mark.SECRET,
    )
    token_path: FilePath | None = setting(
        None,
        "File that holds the value of `token`.",
        "/run/secrets/mmr-token",
        Mark.RELATIVE,
    )

    @model_validator(mode="after")
    def _strong(self) -> SharedSecretConfig:
        if self.enabled and is_weak(self.token):
            raise problem(WEAK_ADVICE, "token")
        return self


class UserNamespaceConfig(Section):
    """A namespace of users that an appservice speaks for."""

    regex: Namespace = setting(
        ...,
        "Pattern that has to fit the whole user id.",
        "@_irc_.*:example\\.org",
    )


class AppserviceConfig(Section):
    """An appservice that is known without asking the homeserver."""

    id: Text = setting("", "Name in the log.", "irc")
    as_token: Text = setting(
        "",
        "Its `as_token`; 16 characters or more.",
        "f0e1d2c3b4a5968778695a4b3c2d1e0f",
        Mark.SECRET,
    )
    as_token_path: FilePath | None = setting(
        None,
        "File that holds the value of `asToken`.",
        "/run/secrets/irc-as-token",
        Mark.RELATIVE,
    )
    sender_user_id: UserId = setting(
        ...,
        "The user it is when a request names none.",
        "@ircbot:example.org",
    )
    user_namespaces: tuple[UserNamespaceConfig, ...] = setting(
        (),
        "The users that it may name in `user_id`.",
        [{"regex": "@_irc_.*:example\\.org"}],
    )

    def owns(self, user_id: str) -> bool:
        """Whether the appservice may act as exactly this user (R46)."""
        return user_id == self.sender_user_id or any(
            namespace.regex.fullmatch(user_id) for namespace in self.user_namespaces
        )


class AccessTokensConfig(Section):
    """How access tokens are checked."""

    max_cache_time_seconds: Int = setting(
        0,
        "How long the homeserver's answer about a token is kept in memory; 0 or less:"
        " not at all. 43200 is good when the reverse proxy sends `/logout` and"
        " `/logout/all` here as well.",
        43200,
    )
    use_local_appservice_config: Flag = setting(
        False, "Look into `appservices` before asking the homeserver.", True
    )
    appservices: tuple[AppserviceConfig, ...] = setting(
        (),
        "Appservices that are known without asking the homeserver.",
        [
            {
                "id": "irc",
                "asTokenPath": "/run/secrets/irc-as-token",
                "senderUserId": "@ircbot:example.org",
                "userNamespaces": [{"regex": "@_irc_.*:example\\.org"}],
            }
        ],
    )

    @model_validator(mode="after")
    def _strong(self) -> AccessTokensConfig:
        for index, appservice in enumerate(self.appservices):
            if self.use_local_appservice_config and is_weak(appservice.as_token):
                raise problem(WEAK_ADVICE, "appservices", index, "asToken")
        return self
