"""What the federation's log and audit hold about one model release: whose updates, under which thresholds and noise, when, by which software.

Called by `riverbank audit export --release`.
Never takes a record whose signature does not hold, nor a fact from anywhere but such records."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from audit.entries import logged_of
from audit.ledger import Entry
from audit.proofs import Prover
from federation import messages as m
from federation.errors import OwnFault, PeerFault
from riverbank.evidence.pack import Exhibit
from streams.codec import DecodeError, decode
from streams.courier import entry_id
from streams.parties import Parties
from streams.ports import Log, Position, Record
from streams.topology import AUDIT, ROUNDS, lane_partition

KINDS: Final = (
    m.LoggedRecord, m.SignedRecord, m.AuditEntry, m.ModelPublished, m.GroupsMerged, m.SumOpened, m.RoundOpened, m.SurvivorsNamed,
    m.EpochRoster, m.MaskedUpdate,
)  # fmt: skip
_OF_ROUND: Final = (m.ModelPublished, m.SumOpened, m.RoundOpened, m.SurvivorsNamed, m.MaskedUpdate)
_RELEASES: Final = (m.ModelPublished, m.GroupsMerged)
_BATCH: Final = 2000
_WAIT_MS: Final = 1000


@dataclass(frozen=True, slots=True)
class _Said:
    record: Record
    message: m.Message

    @property
    def id(self) -> bytes:
        return entry_id(self.record.topic, self.record.value or b"")


async def gathered(
    log: Log, parties: Parties, prover: Prover, head: m.HeadName, version: int
) -> tuple[dict[str, Any], list[Exhibit], list[m.PartyCertified]]:
    """(facts, exhibits, certificates of all who speak in them). OwnFault: no such release, or not everything is under a checkpoint yet."""
    await parties.catch_up()
    release = _release(await _lane(log, parties, head), head, version)
    entries = _entries(prover, {said.id for said in release})
    missing = [type(said.message).__name__ for said in release if said.id not in entries]
    if missing:
        raise OwnFault(f"the audit's newest checkpoint does not cover {', '.join(missing)} yet: try again after the next one")
    exhibits = [Exhibit(prover.entry(entries[said.id][0]), said.message, said.record.topic, said.record.value or b"") for said in release]
    audited = [entries[said.id][1] for said in release]
    speakers = sorted({entry.actor for entry in audited})
    directory = parties.directory
    everybody = [each for party in (*speakers, *_witnesses(directory.certificates, speakers)) for each in directory.certificates[party]]
    return _facts(head, version, [said.message for said in release], audited), exhibits, everybody


def _witnesses(certificates: Mapping[str, tuple[m.PartyCertified, ...]], but: Iterable[str]) -> list[str]:
    roles = (m.PartyRole.INSTITUTION, m.PartyRole.AUDIT)
    return sorted(party for party, known in certificates.items() if known[-1].role in roles and party not in but)


async def _lane(log: Log, parties: Parties, head: m.HeadName) -> list[_Said]:
    place = (ROUNDS.full_name(), lane_partition(head))
    reader = await log.reader([Position(*place, 0)])
    try:
        end, said, next_offset = (await reader.end_offsets())[place], [], 0
        while next_offset < end:
            records = await reader.poll(_BATCH, _WAIT_MS)
            if not records:
                break
            next_offset = records[-1].offset + 1
            for record in records:
                try:
                    opened = await parties.open(record, ROUNDS, in_lane=True)
                except (DecodeError, PeerFault):
                    continue  # Nobody heeded it either.
                said.append(_Said(record, opened.message))
        return said
    finally:
        await reader.close()


def _release(lane: list[_Said], head: m.HeadName, version: int) -> list[_Said]:
    """The record that released the model, and those of its rounds, in the log's order."""
    released = next((said for said in lane if isinstance(said.message, _RELEASES) and said.message.version == version), None)
    if released is None or not isinstance(released.message, _RELEASES):
        raise OwnFault(f"the log has no release {head.value}:{version}; it is kept for {ROUNDS.keep_hours} hours")
    message = released.message
    groups = {each.group for each in message.sums} if isinstance(message, m.GroupsMerged) else {message.group}

    def belongs(said: m.Message) -> bool:
        if isinstance(said, m.EpochRoster):
            return said.epoch == message.epoch and said.group in groups
        return isinstance(said, _OF_ROUND) and (said.epoch, said.round) == (message.epoch, message.round) and said.group in groups

    return [said for said in lane if said is released or belongs(said.message)]


def _entries(prover: Prover, wanted: set[bytes]) -> dict[bytes, tuple[int, m.AuditEntry]]:
    """Id of an exchange -> where its entry stands, and what it says."""
    found: dict[bytes, tuple[int, m.AuditEntry]] = {}
    for entry in prover.matching(lambda entry: any(each in entry.content for each in wanted)):
        audited = _audited(entry)
        if audited is not None and audited.entry_id in wanted:
            found.setdefault(audited.entry_id, (entry.sequence, audited))
    return found


def _audited(entry: Entry) -> m.AuditEntry | None:
    logged = logged_of(entry)
    if logged.reason:
        return None
    envelope = decode(logged.value, (m.SignedRecord,), AUDIT.bytes_max)
    said = decode(envelope.payload, AUDIT.carries, AUDIT.bytes_max) if isinstance(envelope, m.SignedRecord) else None
    return said if isinstance(said, m.AuditEntry) else None


def _facts(head: m.HeadName, version: int, messages: list[m.Message], audited: list[m.AuditEntry]) -> dict[str, Any]:
    released = next(each for each in messages if isinstance(each, _RELEASES) and each.version == version)
    rosters = [each for each in messages if isinstance(each, m.EpochRoster)]
    opened = [each for each in messages if isinstance(each, m.RoundOpened)]
    sums = [each for each in messages if isinstance(each, m.ModelPublished | m.SumOpened)]
    parameters = rosters[0].parameters if rosters else None
    return {
        "head": head.value,
        "version": version,
        "epoch": rosters[0].epoch if rosters else 0,
        "round": released.round,
        "contributors": sorted({name for each in sums for name in each.contributors}),
        "members": sorted({member.institution for each in rosters for member in each.members}),
        "thresholds": sorted({each.threshold for each in rosters}),
        "survivors_min": sorted({each.survivors_min for each in opened}),
        "customers": sum(each.customers for each in sums),
        "epsilon": released.epsilon,
        "delta": None if parameters is None else parameters.delta,
        "noise_sigma": None if parameters is None else parameters.noise_sigma,
        "participations_max": None if parameters is None else parameters.participations_max,
        "period_days": None if parameters is None else parameters.period_days,
        "model_digest": released.model_digest.hex(),
        "base_digest": released.base_digest.hex(),
        "opened_at_ms": min((each.opened_at_ms for each in opened), default=None),
        "published_at_ms": released.published_at_ms,
        "software_versions": sorted({f"{entry.actor} {entry.software_version}" for entry in audited}),
        "schema_fingerprints": sorted({f"{entry.action} {entry.schema_fingerprint}" for entry in audited}),
    }
