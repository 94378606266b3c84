"""What follows from certificates and standings, whatever the order in which they come."""

from __future__ import annotations

import itertools

import pytest

from federation.errors import OwnFault, PeerFault
from federation.members.directory import MARGIN_MS, Directory
from federation.members.standings import MOVES, next_standing
from federation.messages import MemberStanding, PartyRole, Standing
from tests.credentials import AGGREGATOR, AUDIT, FAR_MS, OPERATOR, Credentials, keys_of

ALL = tuple(PartyRole)


@pytest.fixture
def credentials():
    return Credentials("nordic", ["alfa", "beta"])


def test_an_institution_needs_the_cas_word_and_the_operators(credentials):
    """Certified alone is not enough, verified alone neither; the aggregator and the audit need no operator."""
    certified = Directory.of("nordic", credentials.ca_verify_key, credentials.certified)
    assert certified.acceptable(0, *ALL) == {AGGREGATOR: 1, AUDIT: 1}
    assert certified.why_not("alfa", 0) == "has not been verified by an operator"
    assert certified.why_not("gamma", 0) == "is not certified by the federation"

    assert credentials.directory.acceptable(0, *ALL) == {AGGREGATOR: 1, AUDIT: 1, "alfa": 1, "beta": 1}
    assert credentials.directory.acceptable(0, PartyRole.INSTITUTION) == {"alfa": 1, "beta": 1}


@pytest.mark.parametrize("standing", [Standing.SUSPENDED, Standing.LEFT, Standing.REVOKED])
def test_whoever_does_not_stand_well_takes_no_part(credentials, standing):
    """The aggregator included."""
    directory = credentials.directory.take(OPERATOR, credentials.act("alfa", standing))
    assert directory.acceptable(0, *ALL) == {AGGREGATOR: 1, AUDIT: 1, "beta": 1}
    assert directory.why_not("alfa", 0) == f"is {standing.value}"
    revoked = directory.take(OPERATOR, credentials.act(AGGREGATOR, Standing.REVOKED))
    assert revoked.acceptable(0, *ALL) == {AUDIT: 1, "beta": 1}


def test_a_revoked_party_comes_back_with_other_keys_only(credentials):
    """Invited and verified again it still may not speak under the certificates that were revoked."""
    acts = (Standing.REVOKED, Standing.INVITED, Standing.VERIFIED)
    directory = credentials.directory
    for at_ms, act in enumerate(acts, start=10):
        directory = directory.take(OPERATOR, credentials.act("alfa", act, at_ms=at_ms))
    assert "alfa" not in directory.acceptable(20, *ALL)
    assert directory.why_not("alfa", 20) == "has a certificate that was revoked"
    said, old, new = b"said", credentials.keys["alfa"], keys_of("renewed")
    assert directory.verify("alfa", said, old.sign(said), at_ms=9) == 1
    with pytest.raises(PeerFault, match=r"stale_certificate by alfa.*it was revoked"):
        directory.verify("alfa", said, old.sign(said), at_ms=10)

    renewed = directory.admit(credentials.certificate("alfa", new, serial=2), at_ms=30)
    assert renewed.acceptable(40, *ALL)["alfa"] == 2
    assert renewed.verify("alfa", said, new.sign(said), at_ms=40) == 2


def test_a_certificate_expires_for_the_aggregator_first(credentials):
    """It stops inviting a margin before members would refuse."""
    directory = credentials.directory.admit(credentials.certificate("alfa", serial=2, expires_at_ms=10 * MARGIN_MS), at_ms=0)
    just_before = 10 * MARGIN_MS - 1
    assert "alfa" in directory.acceptable(just_before, *ALL)
    assert "alfa" not in directory.acceptable(just_before, *ALL, margin_ms=MARGIN_MS)
    assert "alfa" not in directory.acceptable(just_before + 1, *ALL)
    assert directory.why_not("alfa", just_before + 1) == "has a certificate that has expired"


def test_an_older_certificate_counts_until_the_overlap_is_over(credentials):
    """Then its owner may speak under the newer one only."""
    directory = credentials.directory.admit(credentials.certificate("alfa", keys_of("newer"), serial=2, previous_until_ms=500), at_ms=0)
    assert directory.acceptable(499, *ALL)["alfa"] == 1
    assert directory.acceptable(500, *ALL)["alfa"] == 2
    assert directory.acceptable(499, *ALL, margin_ms=1)["alfa"] == 2


def test_the_order_of_certificates_makes_no_difference(credentials):
    """An older one that comes again, or later, changes nothing: the highest serial is the newest."""
    made = [credentials.certificate("gamma", keys_of("gamma", serial), serial=serial) for serial in (1, 2, 3)]
    for order in itertools.permutations(made):
        directory = credentials.directory
        for certified in (*order, *order):
            directory = directory.admit(certified, at_ms=0)
        assert directory.certificates["gamma"] == tuple(made)
        assert directory.newest("gamma") == made[-1]


def test_swapped_certificates_are_refused(credentials):
    """A serial has one certificate; nobody changes its role; none is of another federation."""
    directory = credentials.directory
    for forged, problem in (
        (credentials.certificate("alfa", keys_of("beta")), "two different certificates have serial 1"),
        (credentials.certificate("alfa", serial=2, role=PartyRole.AGGREGATOR), "does not change its role"),
        (credentials.certificate("alfa", serial=2, federation="baltic"), "certified for another federation"),
    ):
        with pytest.raises(PeerFault, match=problem):
            directory.admit(forged, at_ms=0)


def test_entries_cannot_be_rolled_back(credentials):
    """In whatever order they come the highest serial counts; void certificates stay void."""
    revoked = credentials.act("alfa", Standing.REVOKED, at_ms=5)
    after = credentials.directory.take(OPERATOR, revoked)
    for entry in credentials.entries:
        assert after.take(OPERATOR, entry) is after
    risen = MemberStanding(
        party="alfa", serial=revoked.serial + 5, standing=Standing.VERIFIED, certificate_serial_min=1, void_from_ms=0, at_ms=6, reason=""
    )
    with pytest.raises(PeerFault, match="void certificates stay void"):
        after.take(OPERATOR, risen)


def test_only_acts_of_the_table_are_entered(credentials):
    """Neither made nor believed: whoever is unknown is invited first, whoever left is not suspended."""
    for stood, into in itertools.product(MOVES, Standing):
        before = None
        if stood is not None:
            before = MemberStanding(party="x", serial=7, standing=stood, certificate_serial_min=1, void_from_ms=0, at_ms=0, reason="")
        if into in MOVES[stood]:
            assert next_standing(before, "x", into, at_ms=1, reason="", certificate_serial=1).standing is into
        else:
            with pytest.raises(OwnFault):
                next_standing(before, "x", into, at_ms=1, reason="", certificate_serial=1)
    jumped = MemberStanding(
        party="gamma", serial=1, standing=Standing.VERIFIED, certificate_serial_min=1, void_from_ms=0, at_ms=0, reason=""
    )
    with pytest.raises(PeerFault, match="bad_standing by operator: gamma: unknown, hence not to be verified"):
        credentials.directory.take(OPERATOR, jumped)


def test_strangers_and_wrong_signatures_are_named(credentials):
    """A sender nobody certified, bytes that were not signed, a key that is another's."""
    said = b"said"
    with pytest.raises(PeerFault, match="unknown_sender by gamma"):
        credentials.directory.verify("gamma", said, keys_of("gamma").sign(said))
    for spoken, keys in ((b"else", credentials.keys["alfa"]), (said, credentials.keys["beta"])):
        with pytest.raises(PeerFault, match="bad_signature by alfa"):
            credentials.directory.verify("alfa", spoken, keys.sign(said))


def test_what_expires_soon_is_known(credentials):
    """Within the time asked for, those already expired included."""
    directory = credentials.directory.admit(credentials.certificate("alfa", serial=2, expires_at_ms=1_000), at_ms=0)
    assert [each.party for each in directory.expiring(500, within_ms=500)] == ["alfa"]
    assert [each.party for each in directory.expiring(5_000, within_ms=0)] == ["alfa"]
    assert directory.expiring(0, within_ms=999) == ()
    assert len(directory.expiring(FAR_MS, within_ms=0)) == 5
