"""Who may take part, and under which certificate: what the log's order decides for everybody, and what each member decides for itself."""

from __future__ import annotations

from dataclasses import replace

import pytest

from federation import messages as m
from federation.errors import PeerFault
from federation.ids import digest_of
from federation.rounds import participant, reading
from federation.rounds.effects import InvitedChanged, KeysChanged, Received, Report
from federation.secagg.keys import Secret, x25519_public
from streams.codec import encode
from tests.sim.table import AGGREGATOR, Stream, Table


def told(table: Table, **changed: int | None) -> None:
    """Every member reads the operator's word; the aggregator does not."""
    for name in table.names:
        table.tell(name, table.who_is_who(**changed))


def unfit(table: Table) -> set[tuple[str, str]]:
    """(member, why) of every refusal."""
    return {(name, report.detail) for name, report in table.reports if report.kind == "unfit_member"}


def spoken(table: Table, sender: str, message: m.Message, serial: int) -> None:
    """Everybody reads a record under this certificate before those still unread."""
    table.unread.appendleft(Received(sender, message, digest_of(encode(message)), serial))
    table.deliver()


def test_members_refuse_a_roster_with_somebody_revoked():
    """An aggregator that has not heard of it, or will not, gets no shares from anybody, whatever it says."""
    table = Table("ABCDE")
    table.until(m.EpochRoster)
    told(table, E=None)
    table.drain()

    assert table.said(m.EpochShares) == []
    assert unfit(table) == {(name, "E may not take part") for name in "ABCDE"}


def test_a_revocation_during_an_epoch_ends_it():
    """No member contributes to a round with the revoked one; once the aggregator knows, the others go on without it."""
    table = Table("ABCDE", rounds_per_epoch=8)
    table.until_ended()
    told(table, E=None)
    table.until_ended()
    assert [received.message.round for received in table.said(m.ModelPublished)] == [1]
    assert {name for name, _ in unfit(table)} == set("ABCDE")

    table.tell_coordinator(InvitedChanged(dict.fromkeys("ABCD", 1)))
    table.until_ended(2)
    assert table.said(m.EpochClosed)[0].message.reason == "a member is not invited any more"
    assert [received.message.contributors for received in table.said(m.ModelPublished)[1:]] == [tuple("ABCD")] * 2


def test_an_honest_aggregator_closes_the_epoch_at_once():
    """Between two rounds, before any member has to refuse: not one round is lost."""
    table = Table("ABCDE", rounds_per_epoch=8)
    table.until_ended(2)
    table.tell_coordinator(InvitedChanged(dict.fromkeys("ABCD", 1)))
    told(table, E=None)
    table.until_ended(2)

    assert table.said(m.RoundAbandoned) == []
    assert unfit(table) == set()
    assert table.said(m.ModelPublished)[-1].message.contributors == tuple("ABCD")


def test_nobody_is_acceptable_before_it_is_known_who_is():
    """A member that has not read the directory yet takes no part: it fails closed."""
    table = Table("ABC")
    announced = table.until(m.EpochAnnounced)
    state = replace(table.members["A"], acceptable={}, sealing_keys={})
    _, effects = participant.step(state, announced, Stream("new"))

    assert [effect.kind for effect in effects if isinstance(effect, Report)] == ["unfit_member"]
    assert len(effects) == 1


def test_keys_are_renewed_in_the_middle_of_a_round():
    """From its first record under the newer certificate on, a thief of the older key is not heard; no round is lost."""
    table = Table("ABCDE", rounds_per_epoch=8)
    table.until(m.SurvivorsNamed)
    table.serials["B"] = 2
    table.until_ended()
    table.until(m.RoundOpened)
    table.deliver()
    stolen = next(received.message for received in table.said(m.MaskedUpdate) if received.sender == "B" and received.message.round == 2)
    spoken(table, "B", replace(stolen, secret_commitment=bytes(32)), serial=1)

    accused = {(name, report.kind, report.accused) for name, report in table.reports}
    assert accused == {(name, "stale_certificate", "B") for name in (*"ABCDE", AGGREGATOR)}
    table.until_ended(2)
    assert table.said(m.RoundAbandoned) == []
    assert all(received.message.contributors == tuple("ABCDE") for received in table.said(m.ModelPublished))


def test_void_keys_are_refused_in_the_epoch_that_follows():
    """Revoked and certified anew: what a thief of the old keys says first does not keep the owner out."""
    table = Table("ABCD", rounds_per_epoch=8)
    table.until_ended()
    acceptable = {**dict.fromkeys("ABCD", 1), "B": 2}
    table.tell_coordinator(InvitedChanged(acceptable))
    told(table, B=2)
    table.serials["B"] = 2
    announced = table.until(m.EpochAnnounced)
    assert announced.message.serials == (1, 2, 1, 1)
    table.deliver()
    thief = m.EpochKeys(
        head=m.HeadName.CREDIT, group=0, epoch=announced.message.epoch, institution="B", channel_key=Stream("k")(32),
        round_keys=Stream("r")(32 * 8),
    )  # fmt: skip
    spoken(table, "B", thief, serial=1)
    table.until_ended()

    assert {(report.kind, report.accused) for _, report in table.reports} == {("stale_certificate", "B")}
    assert table.said(m.ModelPublished)[-1].message.contributors == tuple("ABCD")


def test_a_roster_under_void_keys_is_refused_though_the_aggregator_likes_it():
    """The lowest serial is each member's own knowledge, not what the aggregator announces."""
    table = Table("ABCD")
    table.until(m.EpochRoster)
    told(table, B=2)
    table.drain()

    assert unfit(table) == {(name, "B speaks under certificate 1, which does not count any more") for name in "ABCD"}
    assert table.said(m.EpochShares) == []


def test_the_aggregator_changes_its_keys_in_the_middle_of_a_round():
    """Members seal to the key under which it speaks; it opens both; whoever stole the older key decides nothing any more."""
    table, newer = Table("ABCDE", rounds_per_epoch=8), Secret(Stream("newer")(32))
    table.until(m.SurvivorsNamed)
    for name in table.names:
        known = table.who_is_who()
        table.tell(name, replace(known, sealing_keys={**known.sealing_keys, 2: x25519_public(newer)}))
    table.tell_coordinator(KeysChanged((newer, table.sealing_secret)))
    table.until_ended()
    table.serials[AGGREGATOR] = 2
    closing = m.EpochClosed(head=m.HeadName.CREDIT, group=0, epoch=1, reason="a thief's wish")
    table.until(m.RoundOpened)
    table.deliver()
    spoken(table, AGGREGATOR, closing, serial=1)
    table.sealing_secret = newer  # What the chunks' owners open with.
    table.until_ended()

    assert {(report.kind, report.accused) for _, report in table.reports} == {("stale_certificate", AGGREGATOR)}
    assert table.said(m.RoundAbandoned) == []
    assert [received.message.round for received in table.said(m.ModelPublished)] == [1, 2]


def test_a_revoked_aggregator_gets_no_acks():
    """Its decisions are read, so that all read the same; nobody acts on them."""
    table = Table("ABCDE")
    table.until(m.SurvivorsNamed)
    told(table, **{AGGREGATOR: 2})
    table.drain()

    assert table.said(m.SurvivorsAcked) == []
    assert unfit(table) == {(name, f"{AGGREGATOR} speaks under certificate 1, which does not count any more") for name in "ABCDE"}


@pytest.mark.parametrize("serials", [(1, 1), (1, 1, 1, 1), (0, 1, 1), (-1, 1, 1)])
def test_an_invitation_has_one_serial_for_each(serials: tuple[int, ...]):
    """From 1; anything else is the aggregator's fault."""
    table = Table("ABC")
    announced = table.until(m.EpochAnnounced)
    with pytest.raises(PeerFault, match="bad_invitation"):
        reading.fold(table.members["A"].transcript, replace(announced, message=replace(announced.message, serials=serials)))
