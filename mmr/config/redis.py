"""``redis``: what several processes share."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, model_validator

from mmr.config._base import Mark, Section, setting
from mmr.config._values import FilePath, Flag, Named, Natural, Text, expected, problem


def _address(value: str) -> str:
    port = value.rpartition(":")[2]
    if ":" not in value or re.fullmatch(r"[0-9]{1,5}", port) is None:
        raise expected("an address such as 127.0.0.1:6379")
    return value


Address = Annotated[Text, AfterValidator(_address), Named("host:port")]


class ShardConfig(Section):
    """One Redis server."""

    name: Text = setting(..., "Its name; it fixes which keys it holds.", "server1")
    addr: Address = setting(..., "`host:port`.", "127.0.0.1:6379")


class RedisConfig(Section):
    """Redis, for the cache, locks and messages of several processes."""

    enabled: Flag = setting(False, "Use Redis.", True, Mark.RESTART)
    database_number: Natural = setting(0, "Logical database.", 1, Mark.RESTART)
    password: Text = setting("", "Password.", "s3cr3t", Mark.SECRET, Mark.RESTART)
    password_path: FilePath | None = setting(
        None,
        "File that holds the value of `password`.",
        "/run/secrets/redis-password",
        Mark.RELATIVE,
        Mark.RESTART,
    )
    username: Text = setting(
        "", "User name, where the server has several.", "mmr", Mark.RESTART
    )
    tls: Flag = setting(False, "Speak TLS with the servers.", True, Mark.RESTART)
    ca_path: FilePath | None = setting(
        None,
        "Certificates (PEM) that vouch for the servers; without it, the system's.",
        "/etc/ssl/redis-ca.pem",
        Mark.RELATIVE,
        Mark.RESTART,
    )
    shards: tuple[ShardConfig, ...] = setting(
        (),
        "The servers.",
        [{"name": "server1", "addr": "127.0.0.1:6379"}],
        Mark.RESTART,
    )

    @model_validator(mode="after")
    def _complete(self) -> RedisConfig:
        names = [shard.name for shard in self.shards]
        if self.enabled and not names:
            raise problem("is enabled without a server; list one", "shards")
        if len(set(names)) < len(names):
            raise problem("two servers have one name; give each its own", "shards")
        return self
