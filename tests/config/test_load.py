"""One file: values, defaults, and every way to get them wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmr.config import load_config
from mmr.errors import ConfigError
from mmr.types import Kind

from tests.config.files import MINIMAL, load, refused, write


def test_a_minimal_file_has_mmrs_defaults(tmp_path: Path) -> None:
    config = load(tmp_path, "")
    domain = config.domains["example.org"]

    assert config.repo.port == 8000
    assert config.repo.freeze_unauthenticated_media is True
    assert domain.uploads.max_bytes == 104857600
    assert domain.downloads.cache.max_size_bytes == 1048576000
    assert domain.cs_api == "https://matrix.example.org"
    assert domain.datastores[0].for_kinds == frozenset(Kind)
    assert domain.datastores[0].opts == {"path": "/var/lib/mmr"}
    assert config.database.sqlite == tmp_path / "mmr.db"
    assert config.warnings == ()


def test_the_domain_is_known_by_its_lower_case_name(tmp_path: Path) -> None:
    config = load(tmp_path, "", MINIMAL.replace("example.org\n", "Example.ORG\n", 1))
    assert list(config.domains) == ["example.org"]


def test_a_relative_database_is_beside_the_file(tmp_path: Path) -> None:
    config = load(tmp_path, "database: {sqlite: data/m.db}")
    assert config.database.sqlite == tmp_path / "data" / "m.db"


def test_postgres_takes_the_place_of_sqlite(tmp_path: Path) -> None:
    config = load(tmp_path, "database: {postgres: 'postgres:///mmr'}")
    assert config.database.sqlite is None
    assert config.database.postgres == "postgres:///mmr"


def test_null_keeps_the_default(tmp_path: Path) -> None:
    config = load(tmp_path, "uploads:\nrepo: {port: }\n")
    assert config.uploads.min_bytes == 100
    assert config.repo.port == 8000


def test_scalars_are_those_of_yaml_1_2(tmp_path: Path) -> None:
    config = load(
        tmp_path,
        """\
        uploads: {maxBytes: 1_000, minBytes: 2.0}
        sentry: {environment: yes}
        urlPreviews: {userAgent: 2001-01-01}
        redis: {shards: [{name: 0x1F, addr: 'localhost:6379'}]}
        """,
    )
    assert config.uploads.max_bytes == 1000
    assert config.uploads.min_bytes == 2
    assert config.sentry.environment == "yes"
    assert config.url_previews.user_agent == "2001-01-01"
    assert config.redis.shards[0].name == "0x1F"


def test_options_become_text(tmp_path: Path) -> None:
    base = """\
homeservers: [{name: a.b, csApi: 'http://a.b'}]
datastores:
  - {type: s3, id: s, forKinds: [all],
     opts: {endpoint: e, bucketName: b, ssl: true, prefixLength: 2}}
"""
    store = load(tmp_path, "", base).datastores[0]
    assert store.opts["ssl"] == "true"
    assert store.opts["prefixLength"] == "2"


def test_unlimited_pools_get_a_bound(tmp_path: Path) -> None:
    config = load(tmp_path, "thumbnails: {numWorkers: 0}\nfederation: {backoffAt: -1}")
    assert config.thumbnails.num_workers == 100
    assert config.federation.backoff_at == 20


WRONG = [
    ("uploads: {maxBytes: '5'}", "found the text '5', expected a whole number"),
    ("uploads: {maxBytes: 1.5}", "found the number 1.5, expected a whole number"),
    ("uploads: {maxBytes: true}", "found true, expected a whole number"),
    ("uploads: {maxBytes: -1}", "found the number -1, expected a whole number, 0 or"),
    ("uploads: {maxBytes: 99999999999999999999}", "at most 64 bits"),
    ("uploads: {maxBytes: [1]}", "found a list, expected a whole number"),
    ("uploads: 5", "uploads: found a number, expected a section"),
    ("uploads: []", "uploads: found a list, expected a section"),
    ("uploads: {quotas: {users: 5}}", "uploads.quotas.users: found a number, expected"),
    ("uploads: {quotas: {users: [{}]}}", "uploads.quotas.users[0].glob: is missing"),
    ("repo: {jsonLogs: yes}", "found the text 'yes', expected true or false"),
    ("repo: {port: 70000}", "repo.port: found the number 70000, expected a port"),
    ("repo: {logLevel: loud}", "repo.logLevel: found the text 'loud', expected one of"),
    ("repo: {bindAddress: {}}", "found a section, expected text"),
    ("repo: {bindAddress: true}", "found true, expected text (put quotes around it)"),
    ("repo: {trustedProxies: [10.0.0.0/33]}", "trustedProxies[0]: found the text '10"),
    ("admins: ['alice']", "admins[0]: found the text 'alice', expected a user id"),
    ("thumbnails: {sizes: [{width: 0, height: 1}]}", "sizes[0].width: found the numb"),
    ("thumbnails: {sizes: []}", "thumbnails.sizes: found a list, expected at least"),
    ("thumbnails: {stillFrame: .nan}", "expected a number that is finite"),
    ("rateLimit: {requestsPerSecond: .inf}", "expected a number that is finite"),
    ("rateLimit: {requestsPerSecond: -1}", "expected a number, 0 or more"),
    ("rateLimit: {buckets: {downloads: {capacityBytes: 0}}}", "1 or more"),
    ("metrics: {enabled: true, port: 8000}", "metrics.port: is the port of repo as w"),
    ("redis: {enabled: true}", "redis.shards: is enabled without a server"),
    ("redis: {shards: [{name: a, addr: x}]}", "shards[0].addr: found the text 'x'"),
    ("database: {postgres: a, sqlite: b}", "database.sqlite: is given beside postgr"),
    ("database: {sqlite: ''}", "database.sqlite: found the text '', expected a path"),
    ("federation: {ignoredHosts: ['a b']}", "ignoredHosts[0]: found the text 'a b'"),
    ("federation: {caFile: gone.pem}", "caFile: gone.pem can't be read: No such file"),
    ("featureSupport: {MSC2448: {xComponents: 10}}", "xComponents: expected 1 to 9"),
    ("plugins: [{config: {}}]", "plugins[0].exec: is missing"),
]


def test_metrics_are_for_this_machine_unless_told_otherwise(tmp_path: Path) -> None:
    """R69."""
    config = load(tmp_path, "metrics: {enabled: true}")
    assert config.metrics.bind_address == "localhost"


@pytest.mark.parametrize(("text", "message"), WRONG)
def test_a_wrong_value_is_told_with_file_line_and_key(
    tmp_path: Path, text: str, message: str
) -> None:
    told = refused(tmp_path, text)
    assert told.startswith(f"mmr.yaml:{len(MINIMAL.splitlines()) + 1}: ")
    assert message in told


STORES = [
    ("[]", "datastores: no datastore takes local_media, remote_media, thumbnails"),
    ("[{type: file, opts: {path: /m}}]", "no datastore takes local_media"),
    ("[{type: tape}]", "datastores[0].type: found the text 'tape', expected one of"),
    ("[{type: ipfs, forKinds: [all]}]", "datastores[0].type: IPFS is not supported"),
    ("[{type: file}]", "datastores[0].opts.path: is missing"),
    ("[{type: file, opts: {path: ''}}]", "datastores[0].opts.path: found the text ''"),
    ("[{type: file, opts: {path: [1]}}]", "datastores[0].opts: found a section, exp"),
    ("[{type: file, id: '', opts: {path: a}}]", "datastores[0].id: is empty"),
    ("[{type: file, forKinds: [cats], opts: {path: a}}]", "forKinds: found 'cats', ex"),
    ("[{type: s3, opts: {endpoint: 'http://a', bucketName: b}}]", "without http://"),
    ("[{type: s3, opts: {endpoint: a, bucketName: b, ssl: x}}]", "opts.ssl: found"),
    ("[{type: synapse, opts: {path: a}}]", "datastores[0].id: is missing"),
    ("[{type: synapse, id: s}]", "datastores[0].opts.path: is missing: where are"),
    ("[{type: synapse, id: s, opts: {endpoint: a}}]", "opts.endpoint: needs `bucketN"),
    (
        "[{type: synapse, id: s, forKinds: [all], opts: {path: a}}]",
        "datastores[0].forKinds: must be []: Synapse's store is only read",
    ),
    (
        "[{type: file, id: a, opts: {path: a}}, {type: file, id: a, opts: {path: b}}]",
        "two datastores have the id 'a'",
    ),
]


@pytest.mark.parametrize(("stores", "message"), STORES)
def test_unusable_datastores_are_refused(
    tmp_path: Path, stores: str, message: str
) -> None:
    base = "homeservers: [{name: a.b, csApi: 'http://a.b'}]\n"
    assert message in refused(tmp_path, f"datastores: {stores}", base)


HOMESERVERS = [
    ("[]", "homeservers: no homeserver is configured"),
    ("{a: b}", "homeservers: expected a list of homeservers"),
    ("[a]", "homeservers[0]: expected a section with name and csApi"),
    ("[{csApi: 'http://a'}]", "homeservers[0].name: is missing"),
    ("[{name: a.b}]", "homeservers[0].csApi: is missing"),
    ("[{name: 'a b', csApi: 'http://a'}]", "homeservers[0].name: found the text 'a b'"),
    ("[{name: a.b, csApi: a.b}]", "homeservers[0].csApi: found the text 'a.b', expect"),
    ("[{name: a.b, csApi: 'http://[a'}]", "expected a base URL such as"),
    ("[{name: a.b, csApi: 'http://a:99999'}]", "expected a base URL such as"),
    ("[{name: a.b, csApi: 'http://a', adminApiKind: x}]", "adminApiKind: found the te"),
    (
        "[{name: a.b, csApi: 'http://a'}, {name: A.B, csApi: 'http://a'}]",
        "homeservers[1].name: a homeserver of this name is listed already",
    ),
]


@pytest.mark.parametrize(("entries", "message"), HOMESERVERS)
def test_wrong_homeservers_are_refused(
    tmp_path: Path, entries: str, message: str
) -> None:
    base = MINIMAL[MINIMAL.index("datastores") :]
    assert message in refused(tmp_path, f"homeservers: {entries}", base)


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    told = refused(tmp_path, "repo: {port: x}\nuploads:\n  maxBytes: y\nadmins: [z]\n")
    lines = told.splitlines()
    assert len(lines) == 3
    assert [line.split(":")[2].strip() for line in lines] == [
        "uploads.maxBytes",
        "repo.port",
        "admins[0]",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", "mmr.yaml:1: is not valid YAML: expected the node content"),
        ("- a\n", "mmr.yaml:1: expected a mapping of sections at the top"),
        ("repo:\n  port: 1\n  port: 2\n", "mmr.yaml:3: repo.port: the key is written"),
        ("a: &a [*a]\n", "is nested too deeply"),
        ("a: " + "[" * 5000, "is nested too deeply"),
        ("a: !!python/object:os.system x\n", "a value doesn't fit its YAML tag"),
        ("a: !secret {}\n", "has a YAML tag that is not supported"),
        ("? [a]\n: b\n", "mmr.yaml:1: a key has to be text"),
        ("<<: 5\n", "a merge key (<<) needs a mapping"),
        ('a: "\\ud800"\n', "a text holds half of a character"),
        ('a: "\\Uffffffff"\n', "is not valid YAML: a character is not allowed"),
        ("\x01", "is not valid YAML: a character is not allowed"),
        ("a: 1\n---\nb: 2\n", "is not valid YAML: but found another document"),
        ("a: " + "9" * 5000, "a value doesn't fit its YAML tag"),
    ],
)
def test_what_is_no_proper_yaml_is_refused(
    tmp_path: Path, text: str, message: str
) -> None:
    """R110."""
    assert message in refused(tmp_path, text, "")


def test_aliases_that_multiply_are_refused(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    for level in range(1, 9):
        items = ", ".join([f"*a{level - 1}"] * 10)
        lines.append(f"a{level}: &a{level} [{items}]")
    assert "holds too many values" in refused(tmp_path, "\n".join(lines), "")


def test_merge_keys_work(tmp_path: Path) -> None:
    config = load(
        tmp_path,
        """\
        uploads: &base {maxBytes: 7, minBytes: 3}
        thumbnails: {sizes: [{<<: [{width: 5}, {width: 6, height: 6}], height: 9}]}
        """,
    )
    assert config.uploads.max_bytes == 7
    assert config.thumbnails.sizes[0].width == 5
    assert config.thumbnails.sizes[0].height == 9


def test_an_unknown_key_is_a_warning_with_the_nearest(tmp_path: Path) -> None:
    config = load(tmp_path, "uploads:\n  maxbyte: 5\nxyzzy: 1\n")
    assert [w.replace(f"{tmp_path}/", "") for w in config.warnings] == [
        "mmr.yaml:10: uploads.maxbyte: is not a known key; did you mean maxBytes?",
        "mmr.yaml:11: xyzzy: is not a known key",
    ]
    assert config.uploads.max_bytes == 104857600


def test_python_names_of_keys_are_unknown(tmp_path: Path) -> None:
    config = load(tmp_path, "uploads: {max_bytes: 5}")
    assert "did you mean maxBytes?" in config.warnings[0]
    assert config.uploads.max_bytes == 104857600


def test_strict_refuses_unknown_keys(tmp_path: Path) -> None:
    path = write(tmp_path, MINIMAL + "uploads: {maxbyte: 5}\n")
    with pytest.raises(ConfigError, match="did you mean maxBytes"):
        load_config([path], strict=True)


def test_retired_keys_are_warnings_even_when_strict(tmp_path: Path) -> None:
    base = MINIMAL.replace("id: main", "id: main\n    forUploads: true")
    text = base + "storagePaths: [a]\nuploads: {allowedTypes: ['*/*']}\n"
    config = load_config([write(tmp_path, text)], strict=True)
    assert len(config.warnings) == 3
    assert all("has no effect any more" in warning for warning in config.warnings)


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"gone\.yaml: there is no such file"):
        load_config([tmp_path / "gone.yaml"])


def test_every_unreadable_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as raised:
        load_config([tmp_path / "a", tmp_path / "b", Path("/proc/self/mem")])
    assert len(str(raised.value).splitlines()) == 3
    assert "/proc/self/mem: can't be read: Input/output error" in str(raised.value)


def test_an_endless_file_is_refused() -> None:
    with pytest.raises(ConfigError, match="is larger than 8 MiB"):
        load_config([Path("/dev/zero")])


def test_what_lets_strangers_in_is_warned_of(tmp_path: Path) -> None:
    """R41, R74: it works as in MMR, and the start says what it means."""
    repo = "repo: {trustAnyForwardedAddress: true, freezeUnauthenticatedMedia: false}"
    config = load(tmp_path, repo)
    assert config.repo.trust_any_forwarded_address
    assert not config.repo.freeze_unauthenticated_media
    first, second = config.warnings
    assert "repo.trustAnyForwardedAddress: lets clients" in first
    assert "repo.freezeUnauthenticatedMedia: is off" in second
