"""``database``: PostgreSQL, or SQLite when nothing is said."""

from __future__ import annotations

from typing import Annotated

from pydantic import model_validator

from mmr.config._base import Mark, Section, section, setting
from mmr.config._values import FilePath, Int, Natural, Text, problem, workers


class PoolConfig(Section):
    """Connections to PostgreSQL."""

    max_connections: Annotated[Int, workers(25)] = setting(
        25, "Open connections at most; 0 or less takes 25.", 50, Mark.RESTART
    )
    max_idle_connections: Natural = setting(
        5, "Idle connections that are kept open.", 10, Mark.RESTART
    )


class DatabaseConfig(Section):
    """Where records are kept. Without `postgres`, an SQLite file is used."""

    postgres: Text | None = setting(
        None,
        "PostgreSQL URL, or the driver's `key=value` form.",
        "postgres://mmr:password@localhost/mmr?sslmode=require",
        Mark.SECRET,
        Mark.RESTART,
    )
    postgres_path: FilePath | None = setting(
        None,
        "File that holds the value of `postgres`.",
        "/run/secrets/mmr-postgres",
        Mark.RELATIVE,
        Mark.RESTART,
    )
    sqlite: FilePath | None = setting(
        None,
        "SQLite file, relative to the folder of this file. Default: `mmr.db` beside"
        " the configuration, when there is no `postgres`.",
        "/var/lib/mmr/mmr.db",
        Mark.RELATIVE,
        Mark.RESTART,
    )
    pool: PoolConfig = section(PoolConfig)

    @model_validator(mode="after")
    def _one_engine(self) -> DatabaseConfig:
        if self.postgres and self.sqlite:
            raise problem("is given beside postgres; keep one of the two", "sqlite")
        return self
