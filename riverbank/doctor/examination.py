"""The doctor's round: which process a settings file is for, and everything that is looked at for it.

Called by the CLI.
Never stops at the first thing that is wrong."""

from __future__ import annotations

import time
import tomllib
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Final

from riverbank.doctor.connections import Connection, connection
from riverbank.doctor.findings import Finding
from riverbank.doctor.machine import machine
from riverbank.doctor.membership import key_file, membership
from streams.access import Principal, alone
from streams.settings import (
    AggregatorProcess,
    AuditProcess,
    InstitutionProcess,
    SettingsError,
    WebProcess,
    load_settings,
)
from streams.topology import FEDERATION_TOPICS, OWN_TOPICS, Cluster, Role, Topic

Process = InstitutionProcess | AggregatorProcess | AuditProcess | WebProcess
# The section that only this kind of process has.
_KINDS: Final[dict[str, type[Process]]] = {
    "institution": InstitutionProcess,
    "aggregator": AggregatorProcess,
    "audit": AuditProcess,
    "web": WebProcess,
}


def load_any(path: Path) -> Process:
    """The settings of whichever process a file is for; SettingsError."""
    try:
        sections = tomllib.loads(path.read_text(encoding="utf-8")).keys() & _KINDS.keys()
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError([f"{path}: {error}"]) from error
    if len(sections) != 1:
        raise SettingsError(
            [f"{path}: one of the sections {', '.join(_KINDS)} says which process it is for; it has {len(sections)} of them"]
        )
    return load_settings(path, _KINDS[sections.pop()])


async def examine(path: Path) -> AsyncIterator[Finding]:
    """Everything about the process that this settings file is for; SettingsError if it is for none."""
    process = load_any(path)
    for finding in machine(process):
        yield finding
    for use in connections_of(process):
        async for finding in connection(use, time.time_ns() // 1_000_000):
            yield finding
    if isinstance(process, InstitutionProcess | AggregatorProcess):
        role = Role.INSTITUTION if isinstance(process, InstitutionProcess) else Role.AGGREGATOR
        for finding in key_file(process.party.key_file):
            yield finding
        async for finding in membership(process.federation, Principal(process.party.name, role), time.time_ns() // 1_000_000):
            yield finding


def connections_of(process: Process) -> Iterable[Connection]:
    """The clusters that a process speaks with, and what it reads there."""
    match process:
        case InstitutionProcess(party=party, institution=own):
            worker = Principal(party.name, Role.INSTITUTION)
            yield _federations(process, worker)
            yield Connection(Cluster.OWN, own.bootstrap, own.tls, worker, party.name, _read_by(OWN_TOPICS, worker.role))
        case AggregatorProcess(party=party):
            yield _federations(process, Principal(party.name, Role.AGGREGATOR))
        case AuditProcess(audit=own) if own.institution is not None and own.bootstrap is not None:
            writer = Principal(own.institution, Role.LEDGER)
            yield Connection(Cluster.OWN, own.bootstrap, own.tls, writer, own.institution, _read_by(OWN_TOPICS, writer.role))
        case AuditProcess():
            yield _federations(process, alone(Role.AUDIT))
        case WebProcess(web=web) if web.institution is not None and web.bootstrap is not None:
            portal = Principal(web.institution, Role.PORTAL)
            yield _federations(process, portal)
            yield Connection(Cluster.OWN, web.bootstrap, web.tls, portal, web.institution, _read_by(OWN_TOPICS, portal.role))
        case _:
            yield _federations(process, alone(Role.CONSOLE))


def _federations(process: Process, principal: Principal) -> Connection:
    federation = process.federation
    return Connection(
        Cluster.FEDERATION, federation.bootstrap, federation.tls, principal, None, _read_by(FEDERATION_TOPICS, principal.role)
    )


def _read_by(rows: Iterable[Topic], role: Role) -> tuple[Topic, ...]:
    return tuple(row for row in rows if role in row.read_by)
