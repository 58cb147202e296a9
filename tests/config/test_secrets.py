"""Secrets: weak ones, those in files, and that none is ever shown."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from mmr.config import load_config
from mmr.config.access import SharedSecretConfig

from tests.config.files import MINIMAL, load, refused, write

STRONG = "5ecr3t-5ecr3t-5ecr3t"
S3 = """\
homeservers: [{name: a.b, csApi: 'http://a.b'}]
datastores:
  - type: s3
    id: s
    forKinds: [all]
    opts: {endpoint: e, bucketName: b, accessKeyIdPath: k, accessSecretPath: s}
"""


def test_secrets_come_from_files(tmp_path: Path) -> None:
    """R104."""
    for name in ("k", "s", "t", "p", "r", "d", "a"):
        write(tmp_path, f"  {name}-{STRONG}\n", name)
    config = load(
        tmp_path,
        """\
        sharedSecretAuth: {enabled: true, tokenPath: t}
        database: {postgresPath: p}
        redis: {passwordPath: r}
        sentry: {dsnPath: d}
        accessTokens:
          useLocalAppserviceConfig: true
          appservices: [{asTokenPath: a, senderUserId: '@a:a.b'}]
        """,
        S3,
    )
    assert config.shared_secret_auth.token == f"t-{STRONG}"
    assert config.database.postgres == f"p-{STRONG}"
    assert config.redis.password == f"r-{STRONG}"
    assert config.sentry.dsn == f"d-{STRONG}"
    assert config.domains["a.b"].access_tokens.appservices[0].as_token == f"a-{STRONG}"
    opts = config.domains["a.b"].datastores[0].opts
    assert (opts["accessKeyId"], opts["accessSecret"]) == (f"k-{STRONG}", f"s-{STRONG}")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{tokenPath: t, token: abc}", "tokenPath: is given beside token"),
        ("{tokenPath: gone}", "tokenPath: gone can't be read: No such file"),
        ("{tokenPath: empty}", "tokenPath: empty is empty"),
        ("{tokenPath: binary}", "binary is not a short file of UTF-8 text"),
        ("{tokenPath: long}", "long is not a short file of UTF-8 text"),
        ('{tokenPath: "a\\0b"}', "is not a short file"),
    ],
)
def test_a_secrets_file_that_is_no_use_is_refused(
    tmp_path: Path, text: str, message: str
) -> None:
    write(tmp_path, "x", "t")
    write(tmp_path, " \n", "empty")
    write(tmp_path, "x" * 70000, "long")
    (tmp_path / "binary").write_bytes(b"\xff")
    assert message in refused(tmp_path, f"sharedSecretAuth: {text}")


def test_an_s3_secret_is_not_given_twice(tmp_path: Path) -> None:
    base = S3.replace("accessSecretPath: s", "accessSecretPath: s, accessSecret: x")
    write(tmp_path, "k", "k")
    assert "accessSecretPath: is given beside accessSecret" in refused(
        tmp_path, "", base
    )


@pytest.mark.parametrize("token", ["ReplaceMe", "''", "short", "123456789012345"])
def test_a_weak_secret_can_not_be_enabled(tmp_path: Path, token: str) -> None:
    """R43."""
    told = refused(tmp_path, f"sharedSecretAuth: {{enabled: true, token: {token}}}")
    assert "sharedSecretAuth.token: is a placeholder or shorter than 16" in told


def test_a_weak_secret_may_stay_disabled(tmp_path: Path) -> None:
    assert (
        load(tmp_path, "sharedSecretAuth: {token: x}").shared_secret_auth.token == "x"
    )


def test_a_weak_appservice_token_can_not_be_enabled(tmp_path: Path) -> None:
    """R43."""
    text = """\
    accessTokens:
      useLocalAppserviceConfig: true
      appservices:
        - asToken: Secret_token_for_appservices_to_use
          senderUserId: '@a:a.b'
    """
    told = refused(tmp_path, text)
    assert "mmr.yaml:12: accessTokens.appservices[0].asToken: is a placeh" in told


@pytest.mark.parametrize("mode", [0o644, 0o604])
def test_a_file_with_a_secret_that_all_may_read_is_a_warning(
    tmp_path: Path, mode: int
) -> None:
    """R104."""
    path = write(
        tmp_path, MINIMAL + f"sharedSecretAuth: {{enabled: true, token: {STRONG}}}\n"
    )
    secret = write(tmp_path, STRONG, "r")
    key = write(tmp_path, "key", "k.key")
    text = f"redis: {{passwordPath: r}}\nsharedSecretAuth: {{token: {STRONG}}}"
    base = MINIMAL.replace("datastores:", f"    signingKeyPath: {key}\ndatastores:")
    assert load(tmp_path, text, base).warnings == ()
    for file in (path, secret, key):
        file.chmod(mode)
    path.write_text(base + text)
    assert len(load_config([path]).warnings) == 3


@pytest.mark.parametrize(
    "text",
    [
        f"sharedSecretAuth: {{token: [{STRONG}]}}",
        f"sharedSecretAuth: {{token: {{a: {STRONG}}}}}",
        f"sharedSecretAuth: {{token: *{STRONG}}}",
        f"sharedSecretAuth: {{token: !{STRONG} a}}",
        f"sharedSecretAuth: {{token: '{STRONG}}}",
        f'sharedSecretAuth: {{token: "\\{STRONG}"}}',
        f"sharedSecretAuth: {STRONG}",
        f"database: {{sqlite: a, postgres: {STRONG}}}",
        f"plugins: [{{exec: a, config: {STRONG}}}]",
    ],
)
def test_an_error_never_shows_a_secret(tmp_path: Path, text: str) -> None:
    """R106."""
    assert STRONG not in refused(tmp_path, text)


def test_the_configuration_shows_no_secret(tmp_path: Path) -> None:
    """R106."""
    for name in ("k", "s"):
        write(tmp_path, STRONG, name)
    config = load(
        tmp_path,
        f"""\
        sharedSecretAuth: {{token: {STRONG}}}
        database: {{postgres: {STRONG}}}
        redis: {{password: {STRONG}}}
        sentry: {{dsn: {STRONG}}}
        pgo: {{submitKey: {STRONG}}}
        plugins: [{{exec: a, config: {{key: {STRONG}}}}}]
        accessTokens: {{appservices: [{{asToken: {STRONG}, senderUserId: '@a:a.b'}}]}}
        """,
        S3,
    )
    assert STRONG not in repr(config)
    assert STRONG not in str(config)


def test_pydantics_own_error_shows_no_secret() -> None:
    """R106: it may end in a log through an exception's chain."""
    with pytest.raises(ValidationError) as raised:
        SharedSecretConfig.model_validate({"token": [STRONG]})
    assert STRONG not in str(raised.value)
