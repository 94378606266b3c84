"""Every process of a federation on this machine: broker, audit, aggregator, institutions, portals, console.

Started by `riverbank.demo.run` and by the tests of the whole stack.
Never leaves a process behind: all are children that die with this one."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import psutil

from federation.messages import HeadName
from riverbank.embedded.configuration import BrokerTls
from riverbank.embedded.kafka import EmbeddedKafka
from riverbank.people import invite, make_key
from riverbank.processes import Supervisor
from riverbank.provisioning.federations import AGGREGATOR, AUDIT, Federation, create_federation, write_settings
from riverbank.provisioning.transport import create_transport
from riverbank.topics import bring_about
from streams.access import Principal, alone
from streams.kafka import KafkaLog
from streams.passphrases import VARIABLE
from streams.settings import ClusterSettings, TlsSettings, WebSettings
from streams.tls import Tls, open_tls
from streams.topology import Role
from web.identity.roles import Role as PersonRole
from web.identity.roles import Scope

FEDERATION: Final = "riverbank-demo"
CONSOLE: Final = "console"
_BROKER: Final = Principal("kafka", Role.BROKER)
_OPERATOR: Final = alone(Role.OPERATOR)
_LOOPBACK: Final = "127.0.0.1"
_CHECKPOINT_MS: Final = 5_000  # Somebody looks on.
_PARTIES_LAYER: Final = 1
_SERVING_LAYER: Final = 2
_FEED_LAYER: Final = 3
_KEY_SCOPES: Final = {
    True: (Scope.ROUNDS_READ, Scope.METRICS_READ),
    False: (Scope.RECOMMENDATIONS_READ, Scope.FEEDBACK_WRITE, Scope.ROUNDS_READ, Scope.METRICS_READ),
}
"""Of the demo's own keys, at the console (True) and at a portal."""


@dataclass
class Stack:
    """A running federation below `directory`: entered, broker and parties run; `start_serving` and `start_feed` add the rest; left, all stop."""

    directory: Path
    institutions: Sequence[str]
    round_ms: int
    heads: Mapping[HeadName, Mapping[str, Any]] = field(default_factory=dict)
    transport: Mapping[Principal, TlsSettings] = field(init=False)
    kafka: EmbeddedKafka = field(init=False)
    supervisor: Supervisor = field(default_factory=Supervisor)
    federation: Federation = field(init=False)
    keys: dict[str, str] = field(default_factory=dict, repr=False)
    _invitations: dict[str, str] = field(default_factory=dict, repr=False)
    _exit: AsyncExitStack = field(default_factory=AsyncExitStack)

    def __post_init__(self) -> None:
        self.transport = create_transport(self._folders(), federation=FEDERATION, hosts=[_LOOPBACK])
        kafka = self.transport[_BROKER]
        self.kafka = EmbeddedKafka(self.directory / "kafka", tls=BrokerTls(kafka, FEDERATION, (_OPERATOR,)))

    async def __aenter__(self) -> Self:
        await self._exit.__aenter__()
        try:
            await self._exit.enter_async_context(self.kafka)
            self._exit.push_async_callback(self.supervisor.stop)
            await self._start()
        except BaseException:
            await self._exit.aclose()
            raise
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self._exit.aclose()

    def _folders(self) -> dict[Principal, Path]:
        """Where each process's TLS files lie: beside its settings."""
        folders = {
            _BROKER: "kafka",
            _OPERATOR: "operator",
            alone(Role.AGGREGATOR): AGGREGATOR,
            alone(Role.AUDIT): AUDIT,
            alone(Role.CONSOLE): CONSOLE,
        }
        for name in self.institutions:
            folders |= {
                Principal(name, Role.INSTITUTION): name,
                Principal(name, Role.PORTAL): f"portal-{name}",
                Principal(name, Role.SOURCE): f"source-{name}",
                Principal(name, Role.LEDGER): f"{AUDIT}-{name}",
            }
        return {principal: self.directory / folder for principal, folder in folders.items()}

    @property
    def operator(self) -> Tls:
        """As whom the demo itself speaks: it makes topics and access lists, writes certificates, and looks at everything."""
        return open_tls(self.transport[_OPERATOR], _OPERATOR)

    async def _start(self) -> None:
        now_ms = time.time_ns() // 1_000_000
        self.federation = create_federation(
            self.directory, name=FEDERATION, institutions=self.institutions, entropy=os.urandom, now_ms=now_ms
        )
        await bring_about(self._cluster_settings(), show=lambda _: None)
        log = KafkaLog(self.kafka.bootstrap, tls=self.operator)
        try:
            await self.federation.founded.publish(log, now_ms)
        finally:
            await log.close()
        for institution in self.institutions:
            self._start_institution(institution)
        self._start_aggregator()

    def _cluster_settings(self) -> ClusterSettings:
        """Of the one broker that is the federation's and everybody's own."""
        members = tuple(self.institutions)
        return ClusterSettings(
            bootstrap=self.kafka.bootstrap, tls=self.transport[_OPERATOR], federation=FEDERATION, members=members, institutions=members, replication=1
        )  # fmt: skip

    async def start_serving(self) -> None:
        """Start the audits, the console and the portals: after the parties, whose start they would slow down."""
        self._start_audit()
        for institution in self.institutions:
            self._start_own_audit(institution)
        await self._start_web(CONSOLE, institution=None)
        for institution in self.institutions:
            await self._start_web(f"portal-{institution}", institution=institution)

    def _start_institution(self, name: str) -> None:
        unlimited = {head.value: {"epsilon_max": "unlimited"} for head in HeadName}  # The heads' usual rounds have no noise.
        ourselves = Principal(name, Role.INSTITUTION)
        own = self._cluster(ourselves) | {"state_dir": str(self.directory / name / "state"), "privacy": unlimited}
        self._run(name, ["institution", "run"], self._party(ourselves) | {"institution": own}, _PARTIES_LAYER)

    def _start_aggregator(self) -> None:
        own = {
            "state_dir": str(self.directory / AGGREGATOR / "state"),
            "round_ms": self.round_ms,
            "masked_wait_ms": max(1, self.round_ms * 2 // 3),
            "unmask_wait_ms": max(1, self.round_ms * 2 // 3),
        }
        if self.heads:
            own["heads"] = {head.value: dict(settings) for head, settings in self.heads.items()}
        self._run(AGGREGATOR, ["aggregator", "run"], self._party(alone(Role.AGGREGATOR)) | {"aggregator": own}, _PARTIES_LAYER)

    def _start_audit(self) -> None:
        (self.directory / AUDIT).mkdir(exist_ok=True)
        own = {"dsn": self.audit_dsn, "ledger_dir": str(self.directory / AUDIT / "ledger"), "checkpoint_ms": _CHECKPOINT_MS}
        self._run(AUDIT, ["audit", "run"], self._party(alone(Role.AUDIT)) | {"audit": own}, _SERVING_LAYER)

    def _start_own_audit(self, institution: str) -> None:
        """An institution's own audit: the ledger alone, for an engine in each would be most of this machine's memory."""
        name, ourselves = f"{AUDIT}-{institution}", Principal(institution, Role.LEDGER)
        own = {"institution": institution, "ledger_dir": str(self.directory / name / "ledger"), "flush_ms": 0} | self._cluster(ourselves)
        self._run(name, ["audit", "run"], self._federation(ourselves) | {"audit": own}, _SERVING_LAYER)

    async def _start_web(self, name: str, *, institution: str | None) -> None:
        ourselves = alone(Role.CONSOLE) if institution is None else Principal(institution, Role.PORTAL)
        own: dict[str, Any] = {
            "state_dir": str(self.directory / name / "state"),
            "port_file": str(self.port_file(name)),
            "code_needed": False,
        }
        if institution is not None:
            own |= {"institution": institution} | self._cluster(ourselves)
        # There are no default accounts: whoever started the demo gets one-time links, and a key for its own look-ups.
        web, console = WebSettings.model_validate(own), institution is None
        self.keys[name] = await make_key(web, "demo", _KEY_SCOPES[console], self.key_file(name))
        first = PersonRole.OPERATOR if console else PersonRole.ADMINISTRATOR
        self._invitations[name] = await invite(web, first)
        self._run(name, ["web", "run"], self._federation(ourselves) | {"web": own}, _SERVING_LAYER)

    def start_feed(self, arguments: Sequence[str]) -> None:
        """Start the process that plays events into the institutions' topics."""
        sources = {name: self._cluster(Principal(name, Role.SOURCE)) for name in self.institutions}
        self._run("feed", ["feed", *arguments], {"feed": {"sources": sources}}, _FEED_LAYER, may_end=True)

    def _cluster(self, principal: Principal) -> dict[str, Any]:
        """How a process reaches its Kafka cluster: here there is one for all."""
        files = self.transport[principal].model_dump(mode="json", exclude_none=True)
        return {"bootstrap": self.kafka.bootstrap, "tls": files}

    def _federation(self, principal: Principal) -> dict[str, Any]:
        return {"federation": self.federation.settings(AGGREGATOR, self.kafka.bootstrap)["federation"] | self._cluster(principal)}

    def _party(self, principal: Principal) -> dict[str, Any]:
        return self.federation.settings(principal.party, self.kafka.bootstrap) | self._federation(principal)

    def _run(self, name: str, command: Sequence[str], settings: Mapping[str, Any], layer: int, *, may_end: bool = False) -> None:
        config = write_settings(self.directory / name / "settings.toml", settings)
        argv = [sys.executable, "-m", "riverbank", *command, "--config", str(config)]
        env = _environment() | {VARIABLE: self.federation.passphrase}
        self.supervisor.start(name, argv, log=self.log(name), layer=layer, env=env, may_end=may_end)

    @property
    def audit_dsn(self) -> str:
        """Where the audit's ClickHouse lies."""
        return f"chdb://{(self.directory / AUDIT / 'clickhouse').absolute()}"

    def key_file(self, name: str) -> Path:
        """Where a web process's API key lies, as the header that sends it."""
        return self.directory / name / "api-key"

    def invitation(self, name: str) -> str | None:
        """The one-time link by which a first person joins a web process; None until it listens."""
        url = self.url(name)
        return None if url is None else url + self._invitations[name]

    def log(self, name: str) -> Path:
        """The log file of a process."""
        return self.directory / name / "process.log"

    def port_file(self, name: str) -> Path:
        """Where a web process writes its port."""
        return self.directory / name / "port"

    def url(self, name: str) -> str | None:
        """Where a web process listens; None until it does."""
        try:
            return f"http://127.0.0.1:{int(self.port_file(name).read_text())}"
        except (FileNotFoundError, ValueError):  # Not written yet.
            return None

    def memory_bytes(self) -> int:
        """Resident memory of all processes together, this one included; pages shared between them count once (PSS) where we may look so far.

        Only root may: our processes cannot be looked into (`riverbank.core_dumps`).
        """
        total = 0
        own = [os.getpid(), *([self.kafka.pid] if self.kafka.pid else []), *self.supervisor.pids().values()]
        for pid in own:
            try:
                process = psutil.Process(pid)
                try:
                    full = process.memory_full_info()
                    total += getattr(full, "pss", full.rss)
                except psutil.AccessDenied:
                    total += process.memory_info().rss
            except psutil.NoSuchProcess:  # It just died; the supervisor deals with that.
                continue
        return total


def _environment() -> dict[str, str]:
    """Small processes: one BLAS thread each, and few malloc arenas."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"}
