"""Erasure as an institution asks for it: the request, the wait for the worker's certificate, the certificate's file, and its check.

Called by `riverbank rights erase|verify`; the worker's side is `institution_workers.erasure`, the brokers' `riverbank.purging`.
Never asks before the institution's own audit has the request on its disk."""

from __future__ import annotations

import base64
import hmac
import json
import time
import uuid
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final, Protocol

from federation.errors import OwnFault, PeerFault
from federation.members.directory import Directory
from federation.messages import ActionKind, ErasureAsked, ErasureCertified, PartyCertified, SignedRecord
from institution_workers.erasure import customer_digest
from riverbank.rights import now_ms, state_consents
from streams.codec import DecodeError, decode, encode
from streams.parties import Parties
from streams.ports import Entropy, Log, LogReader, Outgoing, Position, Record
from streams.signed import Opened, open_record
from streams.topology import ERASURES_ASKED, ERASURES_CERTIFIED

SALT_BYTES: Final = 32
_FORM: Final = 1
_WAIT_MS: Final = 200


class NotErased(Exception):
    """No certificate within the time given."""


class Auditing(Protocol):
    """As `audit.auditor.Auditor`: what must stand in the audit before it is done."""

    async def record(
        self, kind: ActionKind, action: str, *, actor: str, subject: str = "", detail: Mapping[str, str] | None = None, key: str = ""
    ) -> object:
        """Return once the entry is safe; raises if it cannot be."""
        ...


async def erase(
    log: Log, parties: Parties, auditor: Auditing, institution: str, customer: str, *, actor: str, subject: str, wait_s: float, entropy: Entropy
) -> dict[str, Any]:  # fmt: skip
    """Have a customer erased; the certificate's file as JSON. `subject`: his name in the audit.

    NotErased: no certificate in time, the request stands all the same. Raises as the audit and the log say.
    """
    request_id = uuid.uuid4().hex
    await auditor.record(ActionKind.ERASURE, "erasure_asked", actor=actor, subject=subject, detail={"request": request_id})
    reader = await _from_the_end(log, ERASURES_CERTIFIED.full_name(institution))
    try:
        await state_consents(log, institution, customer, (), ())
        asked = ErasureAsked(request_id=request_id, customer=customer, salt=entropy(SALT_BYTES), asked_at_ms=now_ms())
        await log.append([Outgoing(ERASURES_ASKED.full_name(institution), 0, customer.encode(), encode(asked))])
        record, opened = await _certified(reader, parties, request_id, time.monotonic() + wait_s)
    finally:
        await reader.close()
    vouched = next(each for each in parties.directory.certificates[institution] if each.serial == opened.serial)
    assert isinstance(opened.message, ErasureCertified)  # noqa: S101 As `_certified` says.
    await auditor.record(
        ActionKind.ERASURE, "erasure_certified", actor=actor, subject=subject, detail={"request": request_id, "certificate": opened.digest.hex()}
    )  # fmt: skip
    return {
        "riverbank_erasure_certificate": _FORM,
        "federation": parties.directory.federation,
        "salt": asked.salt.hex(),
        "record": base64.b64encode(record.value or b"").decode(),
        "signer": base64.b64encode(encode(vouched)).decode(),
        "says": readable(opened.message),
    }


async def _from_the_end(log: Log, topic: str) -> LogReader:
    probe = await log.reader([Position(topic, 0, 0)])
    try:
        end = (await probe.end_offsets())[topic, 0]
    finally:
        await probe.close()
    return await log.reader([Position(topic, 0, end)])


async def _certified(reader: LogReader, parties: Parties, request_id: str, until_s: float) -> tuple[Record, Opened]:
    while time.monotonic() < until_s:
        for record in await reader.poll(100, _WAIT_MS):
            opened = await parties.open(record, ERASURES_CERTIFIED)
            if isinstance(opened.message, ErasureCertified) and opened.message.request_id == request_id:
                return record, opened
    raise NotErased("the institution's worker has not certified the erasure in time: does it run? It will do it when it reads the request")


def readable(certified: ErasureCertified) -> dict[str, Any]:
    """What a certificate says, as JSON."""
    said = asdict(certified)
    return said | {name: said[name].hex() for name in ("customer_digest", "request_digest")}


def load(path: Path) -> dict[str, Any]:
    """A certificate's file; OwnFault if it is none."""
    try:
        written = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise OwnFault(f"{path}: {error}") from error
    if not isinstance(written, dict) or written.get("riverbank_erasure_certificate") != _FORM:
        raise OwnFault(f"{path}: not a certificate of an erasure")
    return written


def unverified(written: Mapping[str, Any]) -> ErasureCertified:
    """What a certificate says, for whoever made it himself; OwnFault if it cannot be read."""
    try:
        envelope = decode(base64.b64decode(written["record"], validate=True), (SignedRecord,), ERASURES_CERTIFIED.bytes_max)
        said = decode(envelope.payload, ERASURES_CERTIFIED.carries, ERASURES_CERTIFIED.bytes_max)  # type: ignore[union-attr] # As named.
    except (DecodeError, KeyError, TypeError, ValueError) as error:
        raise OwnFault(f"the certificate cannot be read: {error}") from error
    assert isinstance(said, ErasureCertified)  # noqa: S101 The topic carries nothing else.
    return said


def verified(written: Mapping[str, Any], *, federation: str, ca_verify_key: bytes, customer: str | None = None) -> ErasureCertified:
    """What a certificate says, once the institution's signature and the CA's word for its key hold; with a customer, once it is about him.

    OwnFault: it does not hold; the sentence says what. Nothing but the file and the CA's key is needed.
    """
    try:
        signer = decode(base64.b64decode(written["signer"], validate=True), (PartyCertified,), 1 << 16)
        value, salt = base64.b64decode(written["record"], validate=True), bytes.fromhex(written["salt"])
        assert isinstance(signer, PartyCertified)  # noqa: S101 It decodes nothing else.
        directory = Directory.of(federation, ca_verify_key, [signer])
        said = open_record(value, topic=ERASURES_CERTIFIED, federation=federation, verify=directory.verify).message
    except (PeerFault, DecodeError, KeyError, TypeError, ValueError) as error:
        raise OwnFault(f"the certificate does not hold: {error}") from error
    assert isinstance(said, ErasureCertified)  # noqa: S101 The topic carries nothing else.
    if not signer.issued_at_ms <= said.erased_at_ms < signer.expires_at_ms:
        raise OwnFault("the certificate does not hold: its signer was not certified at that time")
    if customer is not None and not hmac.compare_digest(customer_digest(customer, salt), said.customer_digest):
        raise OwnFault("the certificate holds, and is about somebody else")
    return said
