"""What the doctor sees of a party: whether its keys are locked, and how it stands in the federation.

Called by `riverbank.doctor.examination`.
Never asks for a passphrase: that a key file is locked shows in its first line."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from federation.errors import OwnFault
from federation.members.directory import Directory
from federation.members.locking import cost_of
from federation.messages import PartyRole
from riverbank.doctor.findings import Finding, Level
from streams.access import Principal
from streams.expiry import WARN_DAYS
from streams.kafka import KafkaLog
from streams.parties import Parties
from streams.ports import LogRefused, LogUnavailable
from streams.settings import FederationSettings, SettingsError, read_private_file
from streams.tls import open_tls

_DAY_MS: Final = 24 * 3_600_000
_ANSWER_MS: Final = 5_000


def key_file(path: Path) -> Iterator[Finding]:
    """Whether a party's key file is locked; one that cannot be read is told elsewhere."""
    try:
        cost = cost_of(read_private_file(path))
    except SettingsError:
        return
    except OwnFault as fault:
        repair = "make keys anew: riverbank provision ROLE request NAME --lost; what lies here is in the clear, or no key file"
        yield Finding("keys", Level.WRONG, str(path), str(fault), repair)
        return
    yield Finding("keys", Level.GOOD, str(path), f"locked, argon2id of {cost.operations} passes over {cost.memory_bytes >> 10:,} KiB")


async def membership(federation: FederationSettings, ourselves: Principal, now_ms: int) -> AsyncIterator[Finding]:
    """How a party stands, as the federation's topics say; nothing if they cannot be read, which is told elsewhere."""
    try:
        log = KafkaLog(
            federation.bootstrap,
            client_id=ourselves.name,
            tls=open_tls(federation.tls, ourselves),
            answer_ms=_ANSWER_MS,
            deliver_ms=_ANSWER_MS,
        )
    except SettingsError:
        return
    parties = Parties(log, federation=federation.name, ca_verify_key=bytes.fromhex(federation.ca_verify_key))
    try:
        await parties.catch_up()
    except (LogRefused, LogUnavailable):
        return
    finally:
        await parties.close()
        await log.close()
    yield standing(parties.directory, ourselves.party, PartyRole(ourselves.role.value), now_ms)


def standing(directory: Directory, party: str, role: PartyRole, now_ms: int) -> Finding:
    """Whether a party may take part in this role, and for how long."""
    certified = directory.certificates.get(party)
    if certified is None:
        repair = (
            "publish the CA's answer: riverbank members publish; if that was done, compare federation.ca_verify_key with federation.toml"
        )
        return Finding("membership", Level.WRONG, party, "is not certified by the federation", repair)
    newest = certified[-1]
    if newest.role is not role:
        return Finding("membership", Level.WRONG, party, f"is certified as {newest.role.value}", f"name an {role.value} in party.name")
    if party not in directory.acceptable(now_ms, role):
        repair = "docs/identity.md: an operator invites and verifies (riverbank members); after a revocation or expiry, request keys anew"
        return Finding("membership", Level.WRONG, party, directory.why_not(party, now_ms), repair)
    days = (newest.expires_at_ms - now_ms) // _DAY_MS
    end = f"{datetime.fromtimestamp(min(newest.expires_at_ms, 253_402_300_799_000) / 1000, UTC):%Y-%m-%d}"
    found = f"takes part; certificate {newest.serial} is good until {end}, {days} days"
    if days > WARN_DAYS:
        return Finding("membership", Level.GOOD, party, found)
    return Finding("membership", Level.WARNING, party, found, f"renew it: riverbank provision {role.value} request {party}")
