"""Without a Docker engine: what the compose file starts, as plain processes on the embedded broker, from `prepare` to SIGTERM."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from riverbank.embedded.configuration import BrokerTls
from riverbank.embedded.kafka import EmbeddedKafka
from riverbank.provisioning.transport import tls_files
from riverbank.provisioning.trial import NAME, Places, Trial, found, prepare
from streams.access import alone
from streams.topology import Role
from tests.deployment.test_files import PROCESSES, command_of

PATIENCE_S = 150


def free_ports(count: int) -> list[int]:
    open_now = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in open_now]
    for each in open_now:
        each.close()
    return ports


def ready(port: int) -> tuple[bool, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health/ready", timeout=5) as answer:
            return True, answer.read().decode()
    except urllib.error.HTTPError as refused:
        with refused:
            return False, refused.read().decode()
    except OSError as error:
        return False, str(error)


def start(command: list[str], env: dict[str, str], log: Path) -> subprocess.Popen[bytes]:
    with log.open("wb") as errors:
        return subprocess.Popen([sys.executable, "-m", "riverbank", *command], env=env, stderr=errors)


@pytest.mark.stack
async def test_what_the_compose_file_starts_becomes_ready_and_stops(tmp_path: Path):
    """Every process says that it is ready, by the checks that its container has, and leaves at SIGTERM with exit code 0."""
    directory, names = tmp_path / "federation", ["alder-bank", "brook-savings", "cedar-union"]
    kafka_port, *ports = free_ports(1 + len(PROCESSES))
    places = Places(lambda name: directory / name, lambda name: tmp_path / "state" / name, "127.0.0.1")
    trial = Trial(names, f"127.0.0.1:{kafka_port}", f"chdb://{tmp_path / 'clickhouse'}", places)
    prepare(directory, trial, entropy=os.urandom, now_ms=time.time_ns() // 1_000_000)
    tls = BrokerTls(tls_files(directory / "kafka"), NAME, (alone(Role.OPERATOR),))
    running: dict[str, subprocess.Popen[bytes]] = {}
    async with EmbeddedKafka(tmp_path / "kafka", kafka_port, tls):
        done = await found(directory / "operator", lambda: time.time_ns() // 1_000_000)
        assert {"alder-bank is verified", "aggregator is certified"} <= set(done)
        assert await found(directory / "operator", lambda: time.time_ns() // 1_000_000) == []
        try:
            for (name, service), port in zip(PROCESSES.items(), ports, strict=True):
                command = [part.replace("/etc/riverbank", str(directory / name)) for part in command_of(service)]
                env = {**os.environ, "RIVERBANK_OPS__PORT": str(port), "OMP_NUM_THREADS": "1"}
                if command[0] == "web":
                    env["RIVERBANK_WEB__PORT"] = "0"
                running[name] = start(command, env, tmp_path / f"{name}.log")
            await all_ready(dict(zip(PROCESSES, ports, strict=True)), running, tmp_path)
            for process in running.values():
                process.send_signal(signal.SIGTERM)
            ended = {name: await asyncio.to_thread(process.wait, 60) for name, process in running.items()}
        finally:
            for process in running.values():
                process.kill()

    assert ended == dict.fromkeys(PROCESSES, 0)


async def all_ready(ports: dict[str, int], running: dict[str, subprocess.Popen[bytes]], folder: Path) -> None:
    until = time.monotonic() + PATIENCE_S
    waiting = dict(ports)
    while waiting:
        for name, port in list(waiting.items()):
            assert running[name].poll() is None, (name, (folder / f"{name}.log").read_text())
            well, said = await asyncio.to_thread(ready, port)
            if well:
                assert all(json.loads(said)["checks"].values())
                del waiting[name]
            assert time.monotonic() < until, (name, said, (folder / f"{name}.log").read_text()[-3000:])
        await asyncio.sleep(0.5)
