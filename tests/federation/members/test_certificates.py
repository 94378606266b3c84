"""Only the pinned CA says who has which keys, and for how long."""

from __future__ import annotations

from dataclasses import replace

import pytest

from federation.errors import OwnFault, PeerFault
from federation.members.certificates import certify, pass_on, verify_certificate, verify_rotation
from federation.members.directory import Directory
from federation.messages import PartyRole
from federation.secagg.keys import Secret, signing_public
from tests.credentials import keys_of

CA, NEXT = Secret(b"c" * 32), Secret(b"n" * 32)
PINNED = signing_public(CA)
KEYS = keys_of("alfa")


def certified(ca=CA, keys=KEYS, **changes):
    fields = {
        "federation": "nordic", "party": "alfa", "role": PartyRole.INSTITUTION, "serial": 1, "issued_at_ms": 100, "expires_at_ms": 1_000,
        "previous_until_ms": 100, "verify_key": keys.verify_key, "sealing_key": keys.sealing_key, **changes,
    }  # fmt: skip
    return certify(ca, **fields)


@pytest.mark.parametrize(
    "change",
    [
        {"federation": "baltic"}, {"party": "beta"}, {"role": PartyRole.AGGREGATOR}, {"serial": 2}, {"issued_at_ms": 99},
        {"expires_at_ms": 1_001}, {"previous_until_ms": 101}, {"verify_key": bytes(32)}, {"sealing_key": bytes(32)},
        {"certificate": bytes(64)}, {"federation": "nordica", "party": "lfa"},
    ],
)  # fmt: skip
def test_every_field_is_vouched_for(change):
    """A certificate with any field changed is refused."""
    with pytest.raises(PeerFault, match="bad_signature"):
        verify_certificate(PINNED, replace(certified(), **change))


@pytest.mark.parametrize(
    "change",
    [
        {"party": ""}, {"party": "x" * 65}, {"federation": ""}, {"federation": "x" * 65}, {"verify_key": bytes(31)},
        {"sealing_key": bytes(31)}, {"serial": 0}, {"serial": 1 << 63}, {"issued_at_ms": -1}, {"expires_at_ms": 99},
        {"previous_until_ms": -1},
    ],
)  # fmt: skip
def test_fields_are_bounded(change):
    """The CA does not certify what is out of bounds, and a certificate with it is refused before its signature is looked at."""
    with pytest.raises(OwnFault):
        certified(**change)
    with pytest.raises(PeerFault, match="bad_certificate"):
        verify_certificate(PINNED, replace(certified(), **change))


def test_another_ca_is_not_believed():
    """Nor is a party that vouches for itself."""
    for impostor in (NEXT, KEYS.signing_seed):
        with pytest.raises(PeerFault, match="bad_signature by alfa"):
            Directory.of("nordic", PINNED, [certified(impostor)])


def test_a_change_of_the_ca_is_signed_by_both():
    """Any field changed, or either signature missing, and nobody follows."""
    rotated = pass_on(CA, NEXT, federation="nordic", serial=1, old_until_ms=500)
    verify_rotation(rotated)
    changes = (
        {"party": "baltic"}, {"serial": 2}, {"old_until_ms": 501}, {"new_key": PINNED}, {"by_old": bytes(64)}, {"by_new": bytes(64)},
        {"by_old": rotated.by_new, "by_new": rotated.by_old},
    )  # fmt: skip
    for change in changes:
        with pytest.raises(PeerFault, match="bad_signature"):
            verify_rotation(replace(rotated, **change))


def test_either_key_leads_to_the_other():
    """Who pinned the old key believes the new one's certificates; who pinned the new one reads what the old one signed in its time."""
    rotated = pass_on(CA, NEXT, federation="nordic", serial=1, old_until_ms=500)
    by_old, by_new = certified(), certified(NEXT, serial=2)
    for pin in (PINNED, signing_public(NEXT)):
        directory = Directory.of("nordic", pin).follow(rotated)
        assert directory.admit(by_old, at_ms=499).admit(by_new, at_ms=600).newest("alfa") == by_new
        with pytest.raises(PeerFault, match="by a CA key that another one has followed"):
            directory.admit(by_old, at_ms=500)


def test_a_change_between_strangers_is_not_followed():
    """Two keys that vouch for each other, and nobody has pinned either; or those of another federation."""
    rotated = pass_on(NEXT, Secret(b"o" * 32), federation="nordic", serial=1, old_until_ms=500)
    for directory, change in ((Directory.of("nordic", PINNED), rotated), (Directory.of("baltic", signing_public(NEXT)), rotated)):
        with pytest.raises(PeerFault, match="nobody pinned"):
            directory.follow(change)
