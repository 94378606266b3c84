"""The CA's word: on a party's keys for a time, and on the key that follows its own.

Called by provisioning (certify, pass on) and by `directory`, which believes nothing unverified.
Never takes a key from anybody but a CA that is pinned, or that a pinned one has named: not from the aggregator, not from its owner."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from federation.errors import OwnFault, PeerFault
from federation.limits import NAME_LENGTH_MAX
from federation.messages import AuthorityRotated, PartyCertified, PartyRole
from federation.secagg.keys import KEY_BYTES, SIGNATURE_BYTES, Secret, framed, number, sign, signing_public, verify

_DOMAIN: Final = b"riverbank/certificate/2"
_ROTATION_DOMAIN: Final = b"riverbank/authority-rotated/1"
_NUMBER_MAX: Final = (1 << 63) - 1  # Avro's long.


def certify(
    ca_seed: Secret, *, federation: str, party: str, role: PartyRole, serial: int, issued_at_ms: int, expires_at_ms: int,
    previous_until_ms: int, verify_key: bytes, sealing_key: bytes,
) -> PartyCertified:  # fmt: skip
    """The CA's certificate; OwnFault for an empty or overlong name, a key that is not 32 bytes, or times that make no sense."""
    unsigned = PartyCertified(
        federation=federation, party=party, role=role, serial=serial, issued_at_ms=issued_at_ms, expires_at_ms=expires_at_ms,
        previous_until_ms=previous_until_ms, verify_key=verify_key, sealing_key=sealing_key, certificate=bytes(SIGNATURE_BYTES),
    )  # fmt: skip
    problem = _problem(unsigned)
    if problem is not None:
        raise OwnFault(problem)
    return replace(unsigned, certificate=sign(ca_seed, _signed_bytes(unsigned)))


def verify_certificate(ca_verify_key: bytes, certified: PartyCertified) -> None:
    """Return if the CA vouches for every field; PeerFault "bad_certificate" or "bad_signature" accuses the party named."""
    problem = _problem(certified)
    if problem is not None:
        raise PeerFault("bad_certificate", problem, accused=certified.party)
    verify(ca_verify_key, _signed_bytes(certified), certified.certificate, accused=certified.party)


def pass_on(old_seed: Secret, new_seed: Secret, *, federation: str, serial: int, old_until_ms: int) -> AuthorityRotated:
    """Cross-signature: whoever has pinned the old key comes to believe the new one, and the other way round, for what lies in the log."""
    unsigned = AuthorityRotated(
        party=federation, serial=serial, old_key=signing_public(old_seed), new_key=signing_public(new_seed), old_until_ms=old_until_ms,
        by_old=bytes(SIGNATURE_BYTES), by_new=bytes(SIGNATURE_BYTES),
    )  # fmt: skip
    signed = _rotation_bytes(unsigned)
    return replace(unsigned, by_old=sign(old_seed, signed), by_new=sign(new_seed, signed))


def verify_rotation(rotated: AuthorityRotated) -> None:
    """Return if both keys vouch for each other; PeerFault "bad_signature". Which of them is believed is `directory`'s to know."""
    if not (1 <= rotated.serial <= _NUMBER_MAX and 0 <= rotated.old_until_ms <= _NUMBER_MAX):
        raise PeerFault("bad_certificate", "a number out of bounds", accused=rotated.party)
    signed = _rotation_bytes(rotated)
    verify(rotated.old_key, signed, rotated.by_old, accused=rotated.party)
    verify(rotated.new_key, signed, rotated.by_new, accused=rotated.party)


def _signed_bytes(certified: PartyCertified) -> bytes:
    numbers = (certified.serial, certified.issued_at_ms, certified.expires_at_ms, certified.previous_until_ms)
    return framed(
        _DOMAIN, certified.federation.encode(), certified.party.encode(), certified.role.value.encode(), *map(number, numbers),
        certified.verify_key, certified.sealing_key,
    )  # fmt: skip


def _rotation_bytes(rotated: AuthorityRotated) -> bytes:
    return framed(
        _ROTATION_DOMAIN, rotated.party.encode(), number(rotated.serial), rotated.old_key, rotated.new_key, number(rotated.old_until_ms)
    )


def _problem(certified: PartyCertified) -> str | None:
    if not all(1 <= len(name) <= NAME_LENGTH_MAX for name in (certified.federation, certified.party)):
        return "a name is empty or too long"
    if len(certified.verify_key) != KEY_BYTES or len(certified.sealing_key) != KEY_BYTES:
        return "a key does not have 32 bytes"
    if not 1 <= certified.serial <= _NUMBER_MAX:
        return "serials are numbered from 1"
    # Expired when issued is how a CA takes a party out for good.
    if not 0 <= certified.issued_at_ms <= certified.expires_at_ms <= _NUMBER_MAX or not 0 <= certified.previous_until_ms <= _NUMBER_MAX:
        return "a time out of order"
    return None
