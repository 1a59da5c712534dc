"""docker-compose.yaml: accepted by Docker's own reader, bound to this machine, without a password, every setting real."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from prefect.settings.models.root import Settings
from ruamel.yaml import YAML

ROOT = Path(__file__).resolve().parents[2]
FILE = ROOT / "docker-compose.yaml"
TEXT = FILE.read_text(encoding="utf-8")
COMPOSE: dict[str, Any] = YAML(typ="safe").load(TEXT)
REQUIRED = {"POSTGRES_PASSWORD": "pgpass1", "REDIS_PASSWORD": "redispass2", "PREFECT_AUTH_STRING": "ops:authpass3"}


def compose(*words: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    clean = {name: os.environ[name] for name in ("PATH", "HOME", "DOCKER_CONFIG") if name in os.environ} | env
    command = [*_compose(), "-f", str(FILE), "--profile", "dask", *words]
    return subprocess.run(command, env=clean, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)


def _compose() -> list[str]:
    for program in (["docker", "compose"], ["docker-compose"]):
        if shutil.which(program[0]):
            asked = subprocess.run([*program, "version", "--short"], capture_output=True, text=True, check=False)
            if asked.returncode == 0 and not asked.stdout.startswith("1."):  # 1 is another program of old
                return program
    pytest.skip("no `docker compose` of version 2 or later: install Docker's compose plugin")


def test_it_is_accepted() -> None:
    done = compose("config", env=REQUIRED)
    assert done.returncode == 0, done.stderr
    read = YAML(typ="safe").load(done.stdout)
    assert set(read["services"]) == set(COMPOSE["services"])


@pytest.mark.parametrize("missing", REQUIRED)
def test_it_is_not_without_a_password(missing: str) -> None:
    done = compose("config", env={name: value for name, value in REQUIRED.items() if name != missing})
    assert done.returncode != 0
    assert missing in done.stderr


def test_no_password_stands_in_it() -> None:
    settings = [line for line in TEXT.splitlines() if re.search(r"(PASSWORD|AUTH_STRING|_URL)\w*:", line)]
    with_secret = [line for line in settings if "PASSWORD" in line or "AUTH" in line or "://" in line]
    for line in with_secret:
        assert (
            re.search(r"\$\$?\{?(POSTGRES_PASSWORD|REDIS_PASSWORD|PREFECT_AUTH_STRING)", line) or "http://" in line
        ), line
    for name in REQUIRED:
        assert f"${{{name}:?" in TEXT  # at least once, so that its absence is told


def test_ports_are_bound_to_this_machine() -> None:
    published = [port for service in COMPOSE["services"].values() for port in service.get("ports", ())]
    assert published
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_services_wait_for_what_they_need_and_are_watched() -> None:
    services = COMPOSE["services"]
    assert set(services) == {"postgres", "redis", "server", "services", "worker", "dask-scheduler", "dask-worker"}
    watched = {name for name, service in services.items() if "healthcheck" in service}
    assert watched == {"postgres", "redis", "server", "worker", "dask-scheduler"}
    for name in ("server", "services", "worker", "dask-worker"):
        waits = services[name]["depends_on"]
        assert all(wait["condition"] == "service_healthy" for wait in waits.values())
        assert set(waits) <= watched
    assert {name for name, service in services.items() if "profiles" in service} == {"dask-scheduler", "dask-worker"}
    used = {volume.partition(":")[0] for service in services.values() for volume in service.get("volumes", ())}
    assert used == set(COMPOSE["volumes"])


def environment_of(service: str) -> dict[str, str]:
    return COMPOSE["services"][service]["environment"]


@pytest.mark.parametrize("service", ["server", "services", "worker"])
def test_every_prefect_setting_is_one(service: str) -> None:
    known = {name.upper() for name in known_settings(Settings)}
    redis = pytest.importorskip("prefect_redis.messaging", reason="prefect-redis is an extra: server")
    from prefect_redis.cleanup_queue import RedisWorkerCleanupQueueSettings

    known |= {f"PREFECT_REDIS_MESSAGING_{field.upper()}" for field in redis.RedisMessagingConsumerSettings.model_fields}
    known |= {f"PREFECT_REDIS_MESSAGING_{name}" for name in ("HOST", "PORT", "DB", "PASSWORD")}
    known |= {
        f"PREFECT_REDIS_WORKER_CLEANUP_QUEUE_{name.upper()}" for name in RedisWorkerCleanupQueueSettings.model_fields
    }
    own = {name for name in environment_of(service) if name.startswith("PREFECT_")}
    assert own - known == set()


def known_settings(model: Any, prefix: str = "PREFECT_") -> set[str]:
    """The names of the environment variables that set them."""
    found = set()
    for name, field in model.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and hasattr(inner, "model_fields"):
            found |= known_settings(inner, f"{prefix}{name}_")
        found.add(f"{prefix}{name}")
        aliases = getattr(field.validation_alias, "choices", ())
        found |= {alias for alias in aliases if isinstance(alias, str)}
    return found


def test_nothing_leaves_the_machine() -> None:
    for service in ("server", "services"):
        environment = environment_of(service)
        assert environment["PREFECT_SERVER_ANALYTICS_ENABLED"] == "false"
        assert environment["DO_NOT_TRACK"] == "1"


def test_the_image_is_the_dockerfiles(tmp_path) -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    (uid,) = re.findall(r"^ARG UID=(\d+)$", dockerfile, flags=re.MULTILINE)
    assert uid != "0"
    assert f"uid={uid}" in json.dumps(COMPOSE["x-image"])
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", dockerfile, flags=re.MULTILINE)
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    for path in " ".join(copied).split():
        assert (ROOT / path).exists()
        assert f"!{path}" in ignored
