"""The container's files. No engine is needed: what can be read or run here, is."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from mmr.config import load_config

from tests.integration.process import Child, answers, free_port
from tests.packaging.checkout import ROOT

RUN = ROOT / "docker/run.py"
COMPOSE = ROOT / "contrib/docker-compose.yaml"


def run(folder: Path, *arguments: str, **environment: str) -> str:
    """Run the entry point to its end with a program that says how it was called."""
    programs = folder / "bin"
    programs.mkdir(exist_ok=True)
    fake = programs / "mmr"
    fake.write_text(
        '#!/bin/sh\necho "uid=$(id -u) gid=$(id -g) groups=$(id -G) in=$PWD got=$*"\n'
    )
    fake.chmod(0o755)
    done = subprocess.run(
        [sys.executable, str(RUN), *arguments],
        env={
            "PATH": f"{programs}:{os.environ['PATH']}",
            "REPO_CONFIG": str(folder / "data/media-repo.yaml"),
            "MEDIA_PATH": str(folder / "media"),
            **environment,
        },
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


@pytest.fixture
def volumes(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    (tmp_path / "media").mkdir()
    # Another user has to get there, past folders that pytest makes its own.
    for folder in (tmp_path, *tmp_path.parents):
        if any(part.startswith("pytest-") for part in folder.parts):
            folder.chmod(0o755)
    return tmp_path


class TestEntryPoint:
    def test_it_makes_a_configuration_that_listens_outside(self, volumes: Path) -> None:
        run(volumes, SERVER_NAME="example.org")
        path = volumes / "data/media-repo.yaml"
        config = load_config([path])
        assert config.repo.bind_address == "0.0.0.0"
        assert set(config.domains) == {"example.org"}
        assert config.datastores[0].opts["path"] == str(volumes / "media")
        assert path.stat().st_mode & 0o077 == 0

    def test_it_leaves_a_configuration_alone(self, volumes: Path) -> None:
        path = volumes / "data/media-repo.yaml"
        path.write_text("mine")
        out = run(volumes, "--strict")
        assert path.read_text() == "mine"
        assert f"in={volumes / 'data'} got=--strict" in out

    def test_a_folder_of_files_is_a_configuration(self, volumes: Path) -> None:
        folder = volumes / "data/config.d"
        folder.mkdir()
        out = run(volumes, REPO_CONFIG=str(folder))
        assert f"in={volumes / 'data'}" in out
        assert list(folder.iterdir()) == []

    def test_as_root_it_becomes_whom_the_environment_names(self, volumes: Path) -> None:
        if os.geteuid() != 0:
            pytest.skip("this test has to run as root, as the container may")
        (volumes / "media/old").write_text("")
        out = run(volumes, UID="1234", GID="5678")
        assert "uid=1234 gid=5678 groups=5678 " in out
        for name in ("data", "data/media-repo.yaml", "media", "media/old"):
            stat = (volumes / name).stat()
            assert (stat.st_uid, stat.st_gid) == (1234, 5678), name

    def test_owned_folders_are_not_walked_again(self, volumes: Path) -> None:
        """A chown of millions of files at each start took MMR hours."""
        run(volumes, UID="1234", GID="1234")
        later = volumes / "media/later"
        later.write_text("")
        run(volumes, UID="1234", GID="1234")
        assert later.stat().st_uid == os.geteuid()

    def test_the_server_runs_with_it(self, volumes: Path) -> None:
        port = free_port()
        environment = {
            **os.environ,
            "REPO_CONFIG": str(volumes / "data/media-repo.yaml"),
            "MEDIA_PATH": str(volumes / "media"),
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        }
        run(volumes)
        path = volumes / "data/media-repo.yaml"
        path.write_text(path.read_text().replace("port: 8000", f"port: {port}"))
        child = Child([sys.executable, str(RUN)], volumes / "log", environment)
        child.start()
        try:
            child.wait_until(lambda: answers(port, "/healthz"))
        finally:
            child.stop()
        assert "Stopped" in child.log_text()


class TestImage:
    text = (ROOT / "docker/Dockerfile").read_text()

    def test_it_has_mmrs_environment_volumes_and_port(self) -> None:
        assert "REPO_CONFIG=/data/media-repo.yaml" in self.text
        assert 'VOLUME ["/data", "/media"]' in self.text
        assert "EXPOSE 8000" in self.text
        assert "\nUSER mmr\n" in self.text

    def test_it_keeps_no_package_manager_and_no_compiler(self) -> None:
        """R109: the base image is the slim one, and what installs is removed."""
        assert "-slim" in self.text
        last = self.text.rsplit("FROM ", 1)[1]
        for name in ("apt*", "dpkg*", "pip*"):
            assert re.search(rf"rm -rf [^&]*/{re.escape(name)}", last), name
        assert "gcc" not in last
        assert 'ENTRYPOINT ["tini", "--", "run.py"]' in last

    def test_all_that_is_copied_is_sent_to_the_builder(self) -> None:
        """And all that the installation reads."""
        allowed = set(self.sent())
        assert all((ROOT / name).exists() for name in allowed)
        copied = re.findall(
            r"^COPY (?:--chmod=\S+ )?(?!--)(\S+) ", self.text, re.MULTILINE
        )
        assert set(copied) - {"."} <= allowed
        needed = {"requirements.lock", "setup.cfg", "pyproject.toml", "mmr", "twisted"}
        assert needed | {"README.md", "LICENSE", "MANIFEST.in"} <= allowed

    def test_what_is_sent_makes_a_whole_wheel(self, tmp_path: Path) -> None:
        """R104: as the image's first stage builds it."""
        source = tmp_path / "src"
        source.mkdir()
        ignored = shutil.ignore_patterns("__pycache__")
        for name in self.sent():
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, source / name, ignore=ignored)
            else:
                (source / name).parent.mkdir(exist_ok=True)
                shutil.copy(ROOT / name, source / name)
        pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"]
        subprocess.run([*pip, "--wheel-dir", tmp_path, source], check=True)
        (wheel,) = tmp_path.glob("*.whl")
        names = zipfile.ZipFile(wheel).namelist()
        assert "twisted/plugins/mmr_plugin.py" in names
        assert "mmr/storage/schema/own/06_administration.sql" in names

    @staticmethod
    def sent() -> list[str]:
        """What .dockerignore lets through to the builder."""
        lines = (ROOT / ".dockerignore").read_text().splitlines()
        return [line[1:] for line in lines if line.startswith("!")]


class TestCompose:
    compose: Mapping[str, Any] = yaml.safe_load(COMPOSE.read_text())

    def test_services_volumes_and_secrets_are_all_declared(self) -> None:
        services = self.compose["services"]
        wanted = {"postgres", "redis", "minio", "synapse", "nginx", "mmr-0"}
        assert wanted <= set(services)
        for name, service in services.items():
            assert set(service.get("depends_on", ())) <= set(services), name
            assert set(service.get("secrets", ())) <= set(self.compose["secrets"])
            for volume in service.get("volumes", ()):
                source = volume.split(":")[0]
                if source.startswith("."):
                    assert (COMPOSE.parent / source).exists(), source
                else:
                    assert source in self.compose["volumes"]

    def test_each_process_has_a_number_of_its_own_and_a_read_only_root(self) -> None:
        ours = {
            name: service
            for name, service in self.compose["services"].items()
            if name.startswith("mmr-")
        }
        numbers = [it["environment"]["MACHINE_ID"] for it in ours.values()]
        assert "0" in numbers
        assert len(set(numbers)) == len(numbers)
        assert all(service["read_only"] for service in ours.values())
        build = self.compose["x-mmr"]["build"]
        dockerfile = COMPOSE.parent / build["context"] / build["dockerfile"]
        assert dockerfile.exists()

    def test_the_configuration_is_good(self, tmp_path: Path) -> None:
        text = (COMPOSE.parent / "compose/mmr.yaml").read_text()
        secrets = {"postgres-url": "postgres://mmr:pw@postgres/mmr", "s3": "secret"}
        for name, value in secrets.items():
            (tmp_path / name).write_text(value)
        path = tmp_path / "mmr.yaml"
        path.write_text(text.replace("/run/secrets", str(tmp_path)))
        path.chmod(0o600)
        config = load_config([path], strict=True)
        assert config.database.postgres == secrets["postgres-url"]
        assert config.redis.enabled

    def test_nginx_takes_its_configuration(self, tmp_path: Path) -> None:
        text = (COMPOSE.parent / "compose/nginx.conf").read_text()
        for name in ("mmr-0", "mmr-1", "synapse"):
            text = text.replace(f"{name}:80", "127.0.0.1:80")
        path = tmp_path / "nginx.conf"
        path.write_text(f"pid {tmp_path}/pid;\n{text}")
        nginx = shutil.which("nginx", path="/usr/sbin:/usr/bin")
        assert nginx, "nginx is not installed (apt-get install nginx)"
        done = subprocess.run(
            [nginx, "-t", "-e", str(tmp_path / "log"), "-c", str(path)],
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
