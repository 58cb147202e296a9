"""Files in the shape of matrix-media-repo's own samples."""

from __future__ import annotations

import shutil
from pathlib import Path

from mmr.config import Config, load_config
from mmr.types import Kind

SAMPLES = Path(__file__).parent / "samples"


def load(folder: Path, name: str) -> tuple[Config, list[str]]:
    path = folder / name
    shutil.copy(SAMPLES / name, path)
    path.chmod(0o600)
    config = load_config([path])
    return config, [text.removeprefix(f"{path}:") for text in config.warnings]


def test_a_file_of_1_2_loads(tmp_path: Path) -> None:
    config, warnings = load(tmp_path, "mmr-1.2.yaml")
    assert warnings == [
        "49: datastores[2].forUploads: has no effect any more; `forKinds` says what a"
        " datastore is for",
        "52: datastores[3]: IPFS is not supported; this disabled entry is left out",
        "64: uploads.allowedTypes: has no effect any more; types of uploads can't be"
        " restricted",
        "161: featureSupport.redis: is where matrix-media-repo 1.2 had it; use the"
        " section redis",
    ]
    assert [store.id for store in config.datastores] == [None, None, None]
    assert config.datastores[0].for_kinds == {Kind.THUMBNAILS}
    assert config.datastores[1].for_kinds == frozenset()
    assert config.redis.enabled is True
    assert config.redis.shards[0].addr == ":7000"
    assert config.database.sqlite is None


def test_a_file_of_1_3_loads(tmp_path: Path) -> None:
    config, warnings = load(tmp_path, "mmr-1.3.yaml")
    assert warnings == []
    domain = config.domains["example.org"]
    assert domain.cs_api == "https://example.org"
    assert domain.admin_api_kind == "synapse"
    assert domain.datastores[1].opts["prefixLength"] == "2"
    assert config.rate_limit.buckets.downloads.capacity_bytes == 524288000
    assert config.metrics.enabled is True


def test_samples_pass_strictly(tmp_path: Path) -> None:
    for name in ("mmr-1.2.yaml", "mmr-1.3.yaml"):
        shutil.copy(SAMPLES / name, tmp_path / name)
        load_config([tmp_path / name], strict=True)
