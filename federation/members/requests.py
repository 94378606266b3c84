"""What a request and an answer are signed over, and what makes one acceptable.

Called by provisioning, at the party's side and at the CA's.
Never sees a private key of the other side."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from federation.errors import OwnFault, PeerFault
from federation.members.certificates import verify_certificate
from federation.members.keys import PartyKeys
from federation.messages import CertificateAnswer, CertificateRequest
from federation.secagg.keys import SIGNATURE_BYTES, Secret, framed, number, sign, verify

_REQUEST: Final = b"riverbank/certificate-request/1"
_ANSWER: Final = b"riverbank/certificate-answer/1"


def signed_request(unsigned: CertificateRequest, keys: PartyKeys, previous: PartyKeys | None) -> CertificateRequest:
    """Signed with the keys asked for, and with those before them if they are still in good hands."""
    signed = _request_bytes(unsigned)
    return replace(unsigned, by_new=keys.sign(signed), by_previous=None if previous is None else previous.sign(signed))


def verify_request(request: CertificateRequest, previous_key: bytes | None) -> None:
    """Return if the requester holds the key asked for and, where `previous_key` is given, the one before; PeerFault "bad_signature"."""
    signed = _request_bytes(request)
    verify(request.verify_key, signed, request.by_new, accused=request.party)
    if previous_key is None:
        return
    if request.by_previous is None:
        raise PeerFault("bad_signature", "not signed with the key certified before", accused=request.party)
    verify(previous_key, signed, request.by_previous, accused=request.party)


def signed_answer(ca_seed: Secret, unsigned: CertificateAnswer) -> CertificateAnswer:
    """Signed by the CA."""
    return replace(unsigned, by_authority=sign(ca_seed, _answer_bytes(unsigned)))


def check_answer(
    answer: CertificateAnswer, *, ca_verify_key: bytes, request: CertificateRequest, request_digest: bytes, serial_before: int
) -> None:
    """Return if this is the pinned CA's answer to just this request, and newer than what we have.

    PeerFault: by another CA, or changed. OwnFault: to another request (an older one, another party's), or an older serial.
    """
    verify(ca_verify_key, _answer_bytes(answer), answer.by_authority, accused="authority")
    certified = answer.certified
    verify_certificate(ca_verify_key, certified)
    if answer.request_digest != request_digest:
        raise OwnFault("this answers another request than the one that waits here")
    asked = (request.federation, request.party, request.role, request.verify_key, request.sealing_key)
    given = (certified.federation, certified.party, certified.role, certified.verify_key, certified.sealing_key)
    if asked != given or [each.role for each in request.transports] != [each.role for each in answer.transports]:
        raise OwnFault("the certificates are not for what was asked")
    if certified.serial <= serial_before:
        raise OwnFault(f"certificate {certified.serial} is not newer than {serial_before}, which is here already")


def no_signature() -> bytes:
    """What stands in a signature's place until it is made."""
    return bytes(SIGNATURE_BYTES)


def _request_bytes(request: CertificateRequest) -> bytes:
    transports = [framed(each.role.encode(), *(host.encode() for host in each.hosts), each.request) for each in request.transports]
    return framed(
        _REQUEST, request.federation.encode(), request.party.encode(), request.role.value.encode(), number(request.asked_at_ms),
        request.verify_key, request.sealing_key, *transports,
    )  # fmt: skip


def _answer_bytes(answer: CertificateAnswer) -> bytes:
    transports = [framed(each.role.encode(), each.certificate) for each in answer.transports]
    return framed(_ANSWER, answer.request_digest, answer.certified.certificate, answer.authorities, *transports)
