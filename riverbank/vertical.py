"""What a person asks of a running vertical worker: over the party's own topics, with a deadline.

Called by `riverbank vertical`; the worker's side is `institution_workers.vertical.requests`.
Never opens the worker's state: it may be on another machine."""

from __future__ import annotations

import time
import uuid
from dataclasses import asdict, dataclass
from typing import Any, Final

from federation import messages as m
from federation.errors import PeerFault
from streams.access import Principal
from streams.codec import DecodeError, decode, encode
from streams.kafka import KafkaLog
from streams.parties import Parties
from streams.ports import Log, LogReader, Outgoing, Position, Record
from streams.settings import FederationSettings, VerticalProcess, VerticalSettings
from streams.tls import open_tls
from streams.topology import VERTICAL_ASKED, VERTICAL_STATUS, VERTICAL_TOLD, Role

_WAIT_MS: Final = 200
_GRACE_MS: Final = 2_000  # For the answer's way back.


class NotTold(Exception):
    """No answer within the time given."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A request of the bank's own systems."""

    verb: m.VerticalVerb
    wait_ms: int
    customer: str = ""
    policy: m.OverlapPolicy = m.OverlapPolicy.SHOWN
    warm: bool = False


async def ask(settings: VerticalProcess, asked: Asked) -> m.VerticalTold:
    """The worker's answer; NotTold if there is none in time, LogUnavailable or LogRefused as the log says."""
    log = _log(settings, settings.vertical)
    try:
        return await ask_over(log, settings.party.name, asked)
    finally:
        await log.close()


def _log(settings: VerticalProcess, cluster: FederationSettings | VerticalSettings) -> KafkaLog:
    worker = Principal(settings.party.name, Role.INSTITUTION)
    return KafkaLog(cluster.bootstrap, client_id=f"{worker.name}-cli", tls=open_tls(cluster.tls, worker))


async def ask_over(log: Log, bank: str, asked: Asked) -> m.VerticalTold:
    """As `ask`, over this log."""
    request_id, deadline_ms = uuid.uuid4().hex, time.time_ns() // 1_000_000 + asked.wait_ms
    topic = VERTICAL_TOLD.full_name(bank)
    reader = await log.reader([Position(topic, 0, 0)])
    try:
        end = (await reader.end_offsets())[topic, 0]
    finally:
        await reader.close()
    reader = await log.reader([Position(topic, 0, end)])
    try:
        request = m.VerticalAsked(
            request_id=request_id, verb=asked.verb, customer=asked.customer, policy=asked.policy, warm=asked.warm, deadline_ms=deadline_ms
        )
        await log.append([Outgoing(VERTICAL_ASKED.full_name(bank), 0, request_id.encode(), encode(request))])
        return await _told(reader, request_id, deadline_ms + _GRACE_MS)
    finally:
        await reader.close()


async def _told(reader: LogReader, request_id: str, until_ms: int) -> m.VerticalTold:
    while time.time_ns() // 1_000_000 < until_ms:
        for record in await reader.poll(100, _WAIT_MS):
            told = decode(record.value or b"", VERTICAL_TOLD.carries, VERTICAL_TOLD.bytes_max)
            if isinstance(told, m.VerticalTold) and told.request_id == request_id:
                return told
    raise NotTold("the bank's vertical worker did not answer in time: does `riverbank vertical run` run there, and the partner's?")


async def status(settings: VerticalProcess) -> list[dict[str, Any]]:
    """What either party last said of the partnership, a row each."""
    log = _log(settings, settings.federation)
    try:
        return await status_over(log, settings)
    finally:
        await log.close()


async def status_over(log: Log, settings: VerticalProcess) -> list[dict[str, Any]]:
    """As `status`, over this log."""
    federation = settings.federation
    parties = Parties(log, federation=federation.name, ca_verify_key=bytes.fromhex(federation.ca_verify_key))
    await parties.catch_up()
    await parties.close()
    newest: dict[str, m.VerticalStatus] = {}
    ours = {settings.party.name, settings.vertical.peer}
    for record in await _all(log, VERTICAL_STATUS.full_name()):
        try:
            said = parties.opened(record, VERTICAL_STATUS).message
        except (DecodeError, PeerFault):
            continue
        if isinstance(said, m.VerticalStatus) and {said.bank, said.partner} == ours:
            newest[said.institution] = said
    return [asdict(each) for each in newest.values()]


async def _all(log: Log, topic: str) -> list[Record]:
    reader = await log.reader([Position(topic, 0, 0)])
    try:
        end, found, at = (await reader.end_offsets())[topic, 0], list[Record](), 0
        while at < end:
            records = await reader.poll(500, _WAIT_MS)
            if not records:
                break
            found += [record for record in records if record.value is not None]
            at = records[-1].offset + 1
        return found
    finally:
        await reader.close()
