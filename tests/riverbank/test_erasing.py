"""The certificate of an erasure: who can check it, and that a changed one does not hold."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit.auditor import AuditUnavailable
from federation.errors import OwnFault
from federation.ids import digest_of
from federation.messages import ErasureCertified
from federation.secagg.keys import Secret
from institution_workers.erasure import customer_digest
from riverbank.erasing import erase, verified
from streams.codec import encode
from streams.memory import MemoryLog
from streams.parties import Parties
from streams.signed import seal_record
from streams.topology import CONSENTS, ERASURES_ASKED, ERASURES_CERTIFIED, OWN_TOPICS, partitions_of
from tests.credentials import Credentials

BANK, FED, SALT = "north-bank", "fed", b"\x05" * 32
CREDENTIALS = Credentials(FED, [BANK, "other-bank"])


def certificate(bank=BANK, signer=BANK, credentials=CREDENTIALS):
    said = ErasureCertified(
        request_id="r1", institution=bank, keeper="worker", customer_digest=customer_digest("anna", SALT), request_digest=digest_of(b""),
        asked_at_ms=1, erased_at_ms=2, places=(), read_to=(),
    )  # fmt: skip
    record = seal_record(said, sender=bank, sign=credentials.keys[signer].sign, federation=FED, topic=ERASURES_CERTIFIED)
    vouched = next(each for each in credentials.certified if each.party == signer)
    return {"salt": SALT.hex(), "record": base64.b64encode(record).decode(), "signer": base64.b64encode(encode(vouched)).decode()}


def check(written, customer="anna"):
    return verified(written, federation=FED, ca_verify_key=CREDENTIALS.ca_verify_key, customer=customer)


def test_who_has_the_cas_key_can_check_it_alone():
    """Signature, the CA's word for the signer, and whom it is about."""
    assert check(certificate()).request_id == "r1"
    with pytest.raises(OwnFault, match="somebody else"):
        check(certificate(), customer="ben")


@pytest.mark.parametrize(
    "written",
    [
        certificate(signer="other-bank"),
        certificate(credentials=Credentials(FED, [BANK], ca=Secret(b"\x09" * 32))),
        {},
        certificate() | {"record": "?"},
        certificate() | {"signer": certificate()["record"]},
    ],
    ids=["another bank's signature", "another CA", "empty", "no base64", "no certificate of a party"],
)
def test_what_nobody_vouches_for_does_not_hold(written):
    """Each is refused with a sentence."""
    with pytest.raises(OwnFault, match="does not hold"):
        check(written)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(field=st.sampled_from(["record", "signer"]), place=st.integers(0, 10_000), flip=st.integers(1, 255))
def test_no_changed_byte_is_accepted(field, place, flip):
    """Of the institution's record or of the CA's."""
    written = certificate()
    changed = bytearray(base64.b64decode(written[field]))
    changed[place % len(changed)] ^= flip

    with pytest.raises(OwnFault):
        check(written | {field: base64.b64encode(bytes(changed)).decode()})


class Down:
    """An audit that takes nothing."""

    async def record(self, *_args, **_other):
        raise AuditUnavailable("the audit does not take entries")


async def test_without_the_audit_nothing_is_asked():
    """It fails closed: no request, no word about his consents."""
    log = MemoryLog(partitions_of(OWN_TOPICS, BANK))
    parties = Parties(log, federation=FED, ca_verify_key=CREDENTIALS.ca_verify_key)
    with pytest.raises(AuditUnavailable):
        await erase(log, parties, Down(), BANK, "anna", actor="ann", subject="ab" * 32, wait_s=1, entropy=bytes)

    assert not log.records(ERASURES_ASKED.full_name(BANK))
    assert not log.records(CONSENTS.full_name(BANK))
