"""A federation whose every process runs from the folder that provisioning made for its party, on one broker with TLS and access lists.

Used by the test of keys that change under load.
Never knows a key but through the functions behind `riverbank provision` and `riverbank members`."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

from federation.members.locking import LEAST
from federation.messages import AuthorityRotated, CertificateRequest, HeadName, PartyRole, Standing
from riverbank.embedded.configuration import BrokerTls
from riverbank.embedded.kafka import EmbeddedKafka
from riverbank.membership import Membership
from riverbank.processes import Supervisor
from riverbank.provisioning.applicants import Applicant
from riverbank.provisioning.authority import Office
from riverbank.provisioning.federations import AGGREGATOR, OPERATOR, write_settings
from riverbank.provisioning.papers import digest_of_paper, fingerprint, read_paper
from riverbank.provisioning.transport import certified_files
from riverbank.topics import bring_about
from streams.access import Principal, alone
from streams.identity import Identity, key_file
from streams.kafka import KafkaLog
from streams.parties import Parties
from streams.passphrases import VARIABLE
from streams.settings import ClusterSettings, PartySettings, TlsSettings
from streams.tls import open_tls
from streams.topology import Role

FEDERATION = "rotating"
PASSPHRASE = "a passphrase of everybody's"  # noqa: S105  # Of test files only.
PATIENCE_MS = 30_000  # Three tolerate no dropout; a round goes on as soon as all are there.


def now_ms() -> int:
    return time.time_ns() // 1_000_000


class Provisioned:
    """The CA's office, the parties' folders, the broker and the processes below one directory."""

    def __init__(self, directory: Path, banks: Sequence[str]) -> None:
        self.directory, self.banks = directory, tuple(banks)
        self.office = Office.create(directory / "ca", FEDERATION, PASSPHRASE.encode(), cost=LEAST, entropy=os.urandom, now_ms=now_ms())
        roles = dict.fromkeys(banks, PartyRole.INSTITUTION) | {AGGREGATOR: PartyRole.AGGREGATOR, OPERATOR: PartyRole.OPERATOR}
        public = directory / "ca" / "federation.toml"
        self.parties = {name: Applicant.of(directory / name, name, role, public) for name, role in roles.items()}
        self.supervisor = Supervisor()
        self._serials = count(1_000_000)  # Of certificates that provisioning makes no folder for: the broker's and the feeds'.
        broker = alone(Role.BROKER)
        self.kafka = EmbeddedKafka(
            directory / "kafka", tls=BrokerTls(self.certified(broker, hosts=("127.0.0.1",)), FEDERATION, (alone(Role.OPERATOR),))
        )
        self.answers = {name: self.renew(name) for name in roles}

    def certified(self, principal: Principal, hosts: Sequence[str] = ()) -> TlsSettings:
        folder = self.directory / "others" / principal.name
        return certified_files(self.office.transport, folder, principal, FEDERATION, tuple(hosts), next(self._serials), datetime.now(UTC))

    def renew(self, name: str) -> Path:
        """Keys, the first or newer ones, requested, certified and accepted; the CA's answer, not yet published."""
        asked, answer = self.directory / f"{name}.request", self.directory / f"{name}.answer"
        party = self.parties[name]
        read_out = party.apply(asked, PASSPHRASE.encode(), hosts=(), cost=LEAST, entropy=os.urandom, now_ms=now_ms())
        assert read_out == fingerprint(digest_of_paper(read_paper(asked, CertificateRequest)))
        self.office.answer(asked, answer, confirmed=read_out, days=365, overlap_days=7, replace=False, now_ms=now_ms())
        party.accept(answer)
        return answer

    def renew_authority(self) -> AuthorityRotated:
        """The CA's next signing key, pinned in every party's folder; the paper that vouches for it, not yet published."""
        paper = self.directory / "authority.rotated"
        self.office = self.office.renew(paper, PASSPHRASE.encode(), overlap_days=7, cost=LEAST, entropy=os.urandom, now_ms=now_ms())
        self.parties = {name: party.follow(paper) for name, party in self.parties.items()}
        return read_paper(paper, AuthorityRotated)

    def tls(self, name: str, process: str) -> TlsSettings:
        """What lies in the party's folder for one of its processes."""
        return TlsSettings(**self.parties[name].settings(process, self.kafka.bootstrap)["federation"]["tls"])

    def log(self, name: str, process: str) -> KafkaLog:
        """A connection as that process, with the files as they are now."""
        return KafkaLog(self.kafka.bootstrap, tls=open_tls(self.tls(name, process), Principal(name, Role(process))))

    @asynccontextmanager
    async def membership(self) -> AsyncIterator[Membership]:
        """As `riverbank members` makes it."""
        secret = self.directory / "passphrase"
        secret.touch(mode=0o600)
        secret.write_text(PASSPHRASE)
        log = self.log(OPERATOR, OPERATOR)
        parties = Parties(log, federation=FEDERATION, ca_verify_key=self.office.verify_key)
        settings = PartySettings(name=OPERATOR, key_file=self.directory / OPERATOR / "party.key", passphrase_file=secret)
        try:
            yield Membership(log, parties, Identity(OPERATOR, parties, key_file(settings)))
        finally:
            await parties.close()
            await log.close()

    async def open(self) -> None:
        """Broker, topics, access lists, certificates and members."""
        await self.kafka.__aenter__()
        await bring_about(
            ClusterSettings(
                bootstrap=self.kafka.bootstrap, tls=self.tls(OPERATOR, OPERATOR), federation=FEDERATION, members=self.banks,
                institutions=self.banks, replication=1,
            ),
            show=lambda _: None,
        )  # fmt: skip
        async with self.membership() as membership:
            for certified in (party.certified() for party in self.parties.values()):
                assert certified is not None
                await membership.publish(certified)
            for name in self.banks:
                for standing in (Standing.INVITED, Standing.VERIFIED):
                    await membership.act(name, standing, reason="founding member", now_ms=now_ms())

    async def close(self) -> None:
        await self.supervisor.stop()
        await self.kafka.__aexit__(None, None, None)

    def start(self, *, seed: int, paces: Sequence[str], round_ms: int) -> None:
        """Aggregator, the institutions' workers, and a feed that goes on until it is stopped."""
        waits = dict.fromkeys(("masked_wait_ms", "unmask_wait_ms", "epoch_wait_ms"), PATIENCE_MS)
        own: dict[str, Any] = {"state_dir": str(self.directory / "state" / AGGREGATOR), "round_ms": round_ms, **waits}
        self._run(AGGREGATOR, ["aggregator", "run"], self._party(AGGREGATOR, AGGREGATOR) | {"aggregator": own})
        unlimited = {head.value: {"epsilon_max": "unlimited"} for head in HeadName}  # The heads' usual rounds have no noise.
        for name in self.banks:
            party = self._party(name, "institution")
            own = {"bootstrap": self.kafka.bootstrap, "tls": party["federation"]["tls"], "privacy": unlimited}
            own["state_dir"] = str(self.directory / "state" / name)
            self._run(name, ["institution", "run"], party | {"institution": own})
        sources = {}
        for name in self.banks:
            files = self.certified(Principal(name, Role.SOURCE)).model_dump(mode="json", exclude_none=True)
            sources[name] = {"bootstrap": self.kafka.bootstrap, "tls": files}
        feed = ["feed", "--seed", str(seed), "--progress", str(self.directory / "progress.json"), *(f"--pace={pace}" for pace in paces)]
        self._run("feed", feed, {"feed": {"sources": sources}}, may_end=True)

    def _party(self, name: str, process: str) -> dict[str, Any]:
        return self.parties[name].settings(process, self.kafka.bootstrap)

    def _run(self, name: str, command: Sequence[str], settings: dict[str, Any], *, may_end: bool = False) -> None:
        folder = self.directory / "processes" / name
        config = write_settings(folder / "settings.toml", settings)
        argv = [sys.executable, "-m", "riverbank", *command, "--config", str(config)]
        env = os.environ | {"OMP_NUM_THREADS": "1", VARIABLE: PASSPHRASE}
        self.supervisor.start(name, argv, log=folder / "process.log", env=env, may_end=may_end)
