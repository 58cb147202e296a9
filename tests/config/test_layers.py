"""Several files: order, merging, domains."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from mmr.config import Config, load_config
from mmr.errors import ConfigError

from tests.config.files import MINIMAL, write


def told(config: Config, folder: Path) -> list[str]:
    """The warnings, without the folder's name."""
    return [warning.replace(f"{folder}/", "") for warning in config.warnings]


def test_later_files_are_laid_over_earlier_ones_in_byte_order(tmp_path: Path) -> None:
    write(tmp_path, MINIMAL, "00.yaml")
    write(tmp_path, "repo: {port: 1}", "10.yaml")
    write(tmp_path, "repo: {port: 2}", "9.yml")
    write(tmp_path, '{"repo": {"port": 3}}', "B.json")
    write(tmp_path, "repo: {port: 4}", "a.yaml")
    assert load_config([tmp_path]).repo.port == 4
    (tmp_path / "a.yaml").unlink()
    assert load_config([tmp_path]).repo.port == 3
    (tmp_path / "B.json").unlink()
    assert load_config([tmp_path]).repo.port == 2


def test_the_order_of_the_paths_counts(tmp_path: Path) -> None:
    base = write(tmp_path, MINIMAL, "b.yaml")
    over = write(tmp_path, "repo: {port: 9}", "a.yaml")
    under = write(tmp_path, "repo: {port: 8}", "c.yaml")
    assert load_config([under, base, over]).repo.port == 9


def test_sections_merge_deeply_and_lists_are_replaced(tmp_path: Path) -> None:
    write(tmp_path, MINIMAL + "admins: ['@a:b.c']\n", "1.yaml")
    write(tmp_path, "uploads: {maxBytes: 5, quotas: {enabled: true}}", "2.yaml")
    write(
        tmp_path,
        "uploads: {minBytes: 1, quotas: {users: []}}\nadmins: ['@d:b.c']",
        "3.yaml",
    )
    config = load_config([tmp_path])
    assert config.uploads.max_bytes == 5
    assert config.uploads.min_bytes == 1
    assert config.uploads.quotas.enabled is True
    assert config.admins == ("@d:b.c",)


def test_a_merge_that_mmr_does_otherwise_is_a_warning(tmp_path: Path) -> None:
    write(
        tmp_path, MINIMAL + "uploads: {maxBytes: 5, quotas: {enabled: true}}", "1.yml"
    )
    write(tmp_path, "\nuploads: {minBytes: 1, quotas: {}}", "2.yml")
    write(tmp_path, "repo: {port: 1}\nuploads: {maxBytes: 6, minBytes: 1,"
          " quotas: {enabled: false}}", "3.yml")  # fmt: skip
    assert told(load_config([tmp_path]), tmp_path) == [
        "2.yml:2: uploads: earlier files still count for maxBytes, quotas.enabled;"
        " matrix-media-repo would take the defaults there"
    ]


def test_files_that_are_left_out_are_named(tmp_path: Path) -> None:
    write(tmp_path, MINIMAL, "m.yaml")
    for name in (".hidden.yaml", "m.yaml.bak", "m.yaml~", "README", "mmr.db-wal"):
        write(tmp_path, "repo: {port: 1}", name)
    (tmp_path / "folder.yaml").mkdir()
    config = load_config([tmp_path])
    assert config.repo.port == 8000
    assert [line.split(":")[0] for line in told(config, tmp_path)] == [
        ".hidden.yaml",
        "README",
        "m.yaml.bak",
        "m.yaml~",
    ]
    assert config.files == (tmp_path / "m.yaml",)


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"the folder holds no \.yaml file"):
        load_config([tmp_path])


def test_a_folder_that_can_not_be_read_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(folder: Path) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder))

    # Root may read everything.
    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(ConfigError) as raised:
        load_config([tmp_path])
    assert str(raised.value) == f"{tmp_path}: can't be read: Permission denied"


def test_a_link_to_nowhere_is_refused(tmp_path: Path) -> None:
    write(tmp_path, MINIMAL, "m.yaml")
    (tmp_path / "n.yaml").symlink_to(tmp_path / "gone")
    with pytest.raises(ConfigError, match=r"n\.yaml: can't be read"):
        load_config([tmp_path])


def test_a_domain_inherits_what_its_file_leaves_out(tmp_path: Path) -> None:
    write(tmp_path, MINIMAL + "uploads: {maxBytes: 5, minBytes: 1}", "1.yaml")
    write(tmp_path, "homeserver: Example.org\nuploads: {minBytes: 2}", "2.yaml")
    config = load_config([tmp_path])
    domain = config.domains["example.org"]
    assert (domain.uploads.max_bytes, domain.uploads.min_bytes) == (5, 2)
    assert config.uploads.min_bytes == 1
    assert domain.cs_api == "https://matrix.example.org"
    assert told(config, tmp_path) == [
        "2.yaml:1: homeserver: keys that are left out of uploads are inherited;"
        " matrix-media-repo would empty them"
    ]


def test_domains_may_live_in_their_files_alone(tmp_path: Path) -> None:
    write(tmp_path, MINIMAL[MINIMAL.index("datastores") :], "1.yaml")
    for name in ("a.b", "c.d"):
        write(tmp_path, f"homeserver: {name}\ncsApi: http://{name}", f"{name}.yaml")
    config = load_config([tmp_path])
    assert sorted(config.domains) == ["a.b", "c.d"]
    assert config.domains["c.d"].cs_api == "http://c.d"
    assert config.domains["c.d"].backoff_at == 10
    assert [server.name for server in config.homeservers] == ["a.b", "c.d"]


def test_a_domains_datastores_replace_the_main_ones(tmp_path: Path) -> None:
    write(tmp_path, MINIMAL, "1.yaml")
    write(
        tmp_path,
        """\
        homeserver: example.org
        datastores: [{type: file, id: own, forKinds: [all], opts: {path: /own}}]
        """,
        "2.yaml",
    )
    config = load_config([tmp_path])
    assert [store.id for store in config.datastores] == ["main"]
    assert [s.id for s in config.domains["example.org"].datastores] == ["own"]


def test_an_error_in_a_domains_list_names_the_domains_file(tmp_path: Path) -> None:
    write(tmp_path, MINIMAL, "1.yaml")
    write(tmp_path, "homeserver: example.org\ndatastores: [{id: x}]", "2.yaml")
    with pytest.raises(ConfigError, match=r"2\.yaml:2: datastores\[0\]\.type: is miss"):
        load_config([tmp_path])


def test_one_id_for_two_places_is_refused(tmp_path: Path) -> None:
    write(tmp_path, MINIMAL, "1.yaml")
    write(
        tmp_path,
        """\
        homeserver: example.org
        datastores: [{type: file, id: main, forKinds: [all], opts: {path: /own}}]
        """,
        "2.yaml",
    )
    with pytest.raises(ConfigError, match="'main' stands for two different"):
        load_config([tmp_path])


def test_a_domain_needs_datastores_of_its_own_when_main_has_none(
    tmp_path: Path,
) -> None:
    stores = "datastores: [{type: file, id: a, forKinds: [all], opts: {path: /a}}]"
    write(tmp_path, "repo: {}", "1.yaml")
    write(tmp_path, f"homeserver: a.b\ncsApi: http://a\n{stores}", "2.yaml")
    warnings = told(load_config([tmp_path]), tmp_path)
    assert any("background tasks see only the main part" in text for text in warnings)
    write(tmp_path, "homeserver: c.d\ncsApi: http://a", "3.yaml")
    with pytest.raises(ConfigError, match="no datastore takes local_media"):
        load_config([tmp_path])


@pytest.mark.parametrize(
    ("line", "key"),
    [
        ("repo: {port: 5}", "repo"),
        ("admins: []", "admins"),
        ("tasks: {numWorkers: 1}", "tasks"),
        ("downloads: {numWorkers: 1}", "downloads.numWorkers"),
        ("downloads: {failureCacheMinutes: 1}", "downloads.failureCacheMinutes"),
        ("downloads: {cache: {enabled: false}}", "downloads.cache"),
        ("thumbnails: {expireAfterDays: 1}", "thumbnails.expireAfterDays"),
        ("urlPreviews: {numWorkers: 1}", "urlPreviews.numWorkers"),
        ("featureSupport: {redis: {}}", "featureSupport.redis"),
        ("featureSupport: {IPFS: {builtInDaemon: {}}}", "IPFS.builtInDaemon"),
    ],
)
def test_a_main_key_in_a_domains_file_has_no_effect(
    tmp_path: Path, line: str, key: str
) -> None:
    write(tmp_path, MINIMAL, "1.yaml")
    write(tmp_path, f"homeserver: example.org\n{line}\n", "2.yaml")
    config = load_config([tmp_path])
    warning = f"{key}: can't be set per domain; the main value counts"
    assert any(text.endswith(warning) for text in config.warnings)
    domain = config.domains["example.org"]
    assert domain.downloads.num_workers == 10
    assert domain.downloads.cache.enabled is True


def test_the_name_in_a_domains_file_has_no_effect(tmp_path: Path) -> None:
    write(tmp_path, MINIMAL, "1.yaml")
    write(tmp_path, "homeserver: example.org\nname: other.org", "2.yaml")
    config = load_config([tmp_path])
    assert list(config.domains) == ["example.org"]
    assert "name: has no effect" in config.warnings[0]


@pytest.mark.parametrize("name", ["5", "[a]", "", "'a b'"])
def test_a_homeserver_that_is_no_name_is_refused(tmp_path: Path, name: str) -> None:
    write(tmp_path, MINIMAL, "1.yaml")
    write(tmp_path, f"homeserver: {name}\ncsApi: http://a", "2.yaml")
    with pytest.raises(ConfigError, match=r"2\.yaml:1: homeserver: .*server name"):
        load_config([tmp_path])
