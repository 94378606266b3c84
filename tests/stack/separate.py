"""Three institutions and a federation, each with hosts and a Kafka cluster of its own.

Used by the test of separate clusters.
Never lets two of them share a broker, an authority or a network card."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from federation.messages import HeadName
from riverbank.embedded.configuration import BrokerTls
from riverbank.embedded.kafka import EmbeddedKafka
from riverbank.processes import Supervisor
from riverbank.provisioning.federations import AGGREGATOR, Federation, create_federation, write_settings
from riverbank.provisioning.transport import create_transport
from riverbank.topics import bring_about
from streams.access import Principal, alone, federation_principals, own_principals
from streams.kafka import KafkaLog
from streams.passphrases import VARIABLE
from streams.settings import ClusterSettings, TlsSettings
from streams.tls import Tls, open_tls
from streams.topology import Role
from tests.stack.hosts import Host

FEDERATION = "apart"
BROKER, OPERATOR = alone(Role.BROKER), alone(Role.OPERATOR)
PATIENCE_MS = 30_000
METRICS_PORT = 9464
RECORDING = Path(__file__).with_name("recording_child.py")


class Site:
    """A host with a broker, and whoever runs beside it. `institution` None: the federation's."""

    def __init__(self, host: Host, directory: Path, institution: str | None, members: Sequence[str]) -> None:
        self.host, self.directory, self.institution = host, directory, institution
        self._exit = AsyncExitStack()
        self.supervisor = Supervisor()
        self.passphrase = ""  # Of its processes' keys.
        name = institution or FEDERATION
        known = federation_principals(members) if institution is None else own_principals(institution)
        folders = {principal: directory / "transport" / principal.name for principal in (*known, BROKER, OPERATOR)}
        self.transport = create_transport(folders, federation=name, hosts=[host.address])
        self.kafka = EmbeddedKafka(directory / "kafka", tls=BrokerTls(self.transport[BROKER], name, (OPERATOR,)), host=host.address)
        self._cluster = {"federation": name, "members": tuple(members)} if institution is None else {"institutions": (institution,)}

    @property
    def operator(self) -> Tls:
        return open_tls(self.transport[OPERATOR], OPERATOR)

    async def open(self) -> None:
        """Broker, topics and access lists."""
        await self._exit.enter_async_context(self.kafka)
        self._exit.push_async_callback(self.supervisor.stop)
        tls = self.transport[OPERATOR]
        settings = ClusterSettings(bootstrap=self.kafka.bootstrap, tls=tls, replication=1, **self._cluster)
        await bring_about(settings, show=lambda _: None)

    async def close(self) -> None:
        await self._exit.aclose()

    def cluster(self, principal: Principal) -> dict[str, Any]:
        """How a process reaches this broker, for its settings."""
        return {"bootstrap": self.kafka.bootstrap, "tls": as_table(self.transport[principal])}

    @property
    def measured(self) -> dict[str, Any]:
        """Settings that serve metrics on the host's own address."""
        return {"ops": {"host": self.host.address, "port": METRICS_PORT}}

    @property
    def recorded(self) -> Path:
        """Where the processes' bytes are, as they were before encryption."""
        return self.directory / "recorded"

    async def start(self, name: str, command: Sequence[str], settings: dict[str, Any]) -> None:
        config = write_settings(self.directory / name / "settings.toml", settings)
        argv = [sys.executable, str(RECORDING), str(self.recorded), *command, "--config", str(config)]
        self.supervisor.start(
            name, argv, log=self.directory / name / "process.log", env=os.environ | {"OMP_NUM_THREADS": "1", VARIABLE: self.passphrase}
        )


def as_table(files: TlsSettings) -> dict[str, str]:
    return files.model_dump(mode="json", exclude_none=True)


class Apart:
    """All sites: `federation`, and one for each institution."""

    def __init__(self, hosts: dict[str, Host], directory: Path, members: Sequence[str]) -> None:
        self.federation = Site(hosts[FEDERATION], directory / FEDERATION, None, members)
        self.banks = {name: Site(hosts[name], directory / name, name, members) for name in members}
        now_ms = time.time_ns() // 1_000_000
        self.made: Federation = create_federation(
            directory / "keys", name=FEDERATION, institutions=members, entropy=os.urandom, now_ms=now_ms
        )
        for site in self.sites:
            site.passphrase = self.made.passphrase

    @property
    def sites(self) -> tuple[Site, ...]:
        return (self.federation, *self.banks.values())

    def open(self) -> None:
        starting = [asyncio.run_coroutine_threadsafe(site.open(), site.host.loop) for site in self.sites]
        for each in starting:
            each.result(120)
        self.federation.host.do(self._publish())

    async def _publish(self) -> None:
        log = KafkaLog(self.federation.kafka.bootstrap, tls=self.federation.operator)
        await self.made.founded.publish(log, time.time_ns() // 1_000_000)
        await log.close()

    def close(self) -> None:
        for site in reversed(self.sites):
            site.host.do(site.close())

    def start(self, seed: int, paces: Sequence[str], round_ms: int) -> None:
        """Aggregator; then, at each institution, worker, portal and feed."""
        aggregator = {
            "state_dir": str(self.federation.directory / "state"),
            "round_ms": round_ms,
            # Three tolerate no dropout; a round goes on as soon as all are there.
            "masked_wait_ms": PATIENCE_MS,
            "unmask_wait_ms": PATIENCE_MS,
            "epoch_wait_ms": PATIENCE_MS,
        }
        federation = self.federation
        federation.host.do(
            federation.start(
                AGGREGATOR, ["aggregator", "run"], self._party(alone(Role.AGGREGATOR)) | {"aggregator": aggregator} | federation.measured
            )
        )
        auditor = self._party(alone(Role.AUDIT)) | {
            "audit": {"dsn": f"chdb://{federation.directory / 'clickhouse'}", "ledger_dir": str(federation.directory / "ledger")}
        }
        federation.host.do(federation.start("audit", ["audit", "run"], auditor))
        for name, site in self.banks.items():
            worker, portal, source = (Principal(name, role) for role in (Role.INSTITUTION, Role.PORTAL, Role.SOURCE))
            unlimited = {head.value: {"epsilon_max": "unlimited"} for head in HeadName}  # The heads' usual rounds have no noise.
            own = site.cluster(worker) | {"state_dir": str(site.directory / "state"), "privacy": unlimited}
            site.host.do(site.start("worker", ["institution", "run"], self._party(worker) | {"institution": own} | site.measured))
            web = site.cluster(portal) | {
                "state_dir": str(site.directory / "web"),
                "institution": name,
                "port_file": str(site.directory / "port"),
            }
            site.host.do(site.start("portal", ["web", "run"], self._federation(portal) | {"web": web}))
            feed = ["feed", "--seed", str(seed), "--progress", str(site.directory / "progress.json"), *(f"--pace={pace}" for pace in paces)]
            site.host.do(site.start("feed", feed, {"feed": {"sources": {name: site.cluster(source)}}}))

    def _federation(self, principal: Principal) -> dict[str, Any]:
        table = self.made.settings(AGGREGATOR, self.federation.kafka.bootstrap)["federation"]
        return {"federation": table | self.federation.cluster(principal)}

    def _party(self, principal: Principal) -> dict[str, Any]:
        return self.made.settings(principal.party, self.federation.kafka.bootstrap) | self._federation(principal)
