"""Only the pinned CA says who has which keys."""

from __future__ import annotations

from dataclasses import replace

import pytest

from federation.errors import OwnFault, PeerFault
from federation.messages import PartyRole
from federation.secagg.certificates import PartyKeys, Registry, certify, verify_certificate
from federation.secagg.keys import Secret, sign, signing_public

CA = Secret(b"c" * 32)
PINNED = signing_public(CA)


@pytest.fixture
def keys(entropy_of):
    return PartyKeys.from_entropy(entropy_of("keys"))


def certified(keys, *, ca=CA, party="alfa", federation="nordic", role=PartyRole.INSTITUTION):
    return certify(ca, federation=federation, party=party, role=role, verify_key=keys.verify_key, sealing_key=keys.sealing_key)


def test_the_registry_checks_signatures_by_name(keys):
    """A certified party's signature holds; another's, or over other bytes, accuses the sender."""
    registry = Registry.of("nordic", PINNED, [certified(keys)])
    registry.verify("alfa", b"said", sign(keys.signing_seed, b"said"))
    for spoken in (b"else", b"said "):
        with pytest.raises(PeerFault, match="bad_signature by alfa"):
            registry.verify("alfa", spoken, sign(keys.signing_seed, b"said"))
    with pytest.raises(PeerFault, match="bad_signature by alfa"):
        registry.verify("alfa", b"said", sign(keys.sealing_secret, b"said"))


def test_a_stranger_is_unknown(keys):
    """Nobody without a certificate is believed, whatever the signature."""
    registry = Registry.of("nordic", PINNED, [certified(keys)])
    with pytest.raises(PeerFault, match="unknown_sender by beta"):
        registry.verify("beta", b"said", sign(keys.signing_seed, b"said"))
    with pytest.raises(PeerFault, match="unknown_sender by beta"):
        registry.party("beta")


@pytest.mark.parametrize(
    "change",
    [
        {"federation": "baltic"}, {"party": "beta"}, {"role": PartyRole.AGGREGATOR}, {"verify_key": bytes(32)}, {"sealing_key": bytes(32)},
        {"certificate": bytes(64)}, {"federation": "nordica", "party": "lfa"},
    ],
)  # fmt: skip
def test_every_field_is_vouched_for(keys, change):
    """A certificate with any field changed is refused."""
    with pytest.raises(PeerFault, match="bad_signature"):
        verify_certificate(PINNED, replace(certified(keys), **change))


def test_another_ca_is_not_believed(keys):
    """Nor is a party that vouches for itself."""
    for impostor in (Secret(b"d" * 32), keys.signing_seed):
        with pytest.raises(PeerFault, match="bad_signature by alfa"):
            Registry.of("nordic", PINNED, [certified(keys, ca=impostor)])


def test_a_certificate_of_another_federation_is_refused(keys):
    """Even by the same CA."""
    with pytest.raises(PeerFault, match="bad_certificate by alfa"):
        Registry.of("baltic", PINNED, [certified(keys)])


def test_keys_may_change_but_not_the_role(keys, entropy_of):
    """The newest certificate counts; an institution does not become the aggregator."""
    newer = PartyKeys.from_entropy(entropy_of("newer"))
    registry = Registry.of("nordic", PINNED, [certified(keys), certified(newer)])
    registry.verify("alfa", b"said", sign(newer.signing_seed, b"said"))
    with pytest.raises(PeerFault, match="bad_signature"):
        registry.verify("alfa", b"said", sign(keys.signing_seed, b"said"))
    with pytest.raises(PeerFault, match="does not change its role"):
        registry.admit(certified(newer, role=PartyRole.AGGREGATOR))


def test_a_registry_does_not_change(keys):
    """Admitting a party makes another registry."""
    empty = Registry.of("nordic", PINNED)
    fuller = empty.admit(certified(keys))

    assert (len(empty.parties), len(fuller.parties)) == (0, 1)
    with pytest.raises(TypeError):
        fuller.parties["beta"] = certified(keys)


@pytest.mark.parametrize("names", [{"party": ""}, {"party": "x" * 65}, {"federation": ""}, {"federation": "x" * 65}])
def test_names_are_bounded(keys, names):
    """The CA does not certify them, and a certificate with them is refused."""
    with pytest.raises(OwnFault):
        certified(keys, **names)
    with pytest.raises(PeerFault, match="bad_certificate"):
        verify_certificate(PINNED, replace(certified(keys), **names))


@pytest.mark.parametrize("name", ["verify_key", "sealing_key"])
def test_keys_have_thirty_two_bytes(keys, name):
    """The CA does not certify others, and a certificate with them is refused."""
    fields = {
        "federation": "f",
        "party": "p",
        "role": PartyRole.INSTITUTION,
        "verify_key": keys.verify_key,
        "sealing_key": keys.sealing_key,
    }
    with pytest.raises(OwnFault):
        certify(CA, **{**fields, name: bytes(31)})
    with pytest.raises(PeerFault, match="bad_certificate"):
        verify_certificate(PINNED, replace(certified(keys), **{name: bytes(31)}))


def test_a_key_file_keeps_the_keys_and_hides_them(keys):
    """Written and read back the keys are the same; their repr shows none."""
    content = keys.to_bytes()

    assert PartyKeys.from_bytes(content) == keys
    assert keys.signing_seed.reveal().hex() not in repr(keys)
    assert repr(keys) == "PartyKeys(signing_seed=Secret(32 bytes), sealing_secret=Secret(32 bytes))"


def test_what_is_no_key_file_is_refused_without_quoting_it(keys):
    """Cut, longer, or another file: OwnFault, and no byte of it in the message."""
    content = keys.to_bytes()
    for other in (content[:-1], content + b"\n", content.replace(b"riverbank", b"riverbenk"), b""):
        with pytest.raises(OwnFault) as fault:
            PartyKeys.from_bytes(other)
        assert keys.sealing_secret.reveal().hex() not in str(fault.value)
        assert str(fault.value) == "not a key file of a party"
