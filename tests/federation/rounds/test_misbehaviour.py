"""What a party may do wrong: each fault is seen, named, and costs at most the round."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from federation import messages as m
from federation.ids import digest_of
from federation.rounds.effects import ChunksRefused, Received, Report
from federation.rounds.participant_state import EpochSecrets
from federation.rounds.phases import AGGREGATOR_ALONE_READS
from federation.rounds.transcript_epoch import LOW_ORDER, is_low_order
from federation.secagg import ring
from federation.secagg.keys import Secret, x25519_shared
from federation.secagg.shares import draw_secret
from streams.codec import encode
from tests.sim.table import AGGREGATOR, Stream, Table


def faults(table: Table, kind: str) -> set[tuple[str, str]]:
    """(who reported, who is accused) of the reports of one kind."""
    return {(who, report.accused) for who, report in table.reports if report.kind == kind}


def everybody(table: Table, *, accused: str) -> set[tuple[str, str]]:
    return {(who, accused) for who in (AGGREGATOR, *table.names)}


def readers(table: Table, kind: type[m.Message], *, accused: str) -> set[tuple[str, str]]:
    """Who reports a fault in a message of this kind: members pass over what is for the aggregator alone."""
    return {(AGGREGATOR, accused)} if kind in AGGREGATOR_ALONE_READS else everybody(table, accused=accused)


def replaced(table: Table, kind: type[m.Message], change: Callable[[m.Message], m.Message], sender: str | None = None) -> Received:
    """Let the next unread record of this type (and sender) say something else; the replacement, as everybody will read it."""
    found = table.until(kind)
    while sender is not None and found.sender != sender:
        table.deliver()
        found = table.until(kind)
    message = change(found.message)
    forged = Received(found.sender, message, digest_of(encode(message)), 1)
    table.unread[0] = forged
    table.log[table.log.index(found)] = forged
    return forged


def say_first(table: Table, sender: str, message: m.Message) -> None:
    """A record that everybody reads before those still unread."""
    table.say(sender, message)
    table.unread.rotate(1)


def ending(table: Table) -> m.ModelPublished | m.RoundAbandoned:
    last = [received.message for received in table.log if isinstance(received.message, m.ModelPublished | m.RoundAbandoned)][-1]
    assert isinstance(last, m.ModelPublished | m.RoundAbandoned)
    return last


# --- who may say what ---------------------------------------------------------------------------------------------
def test_an_institution_does_not_speak_for_the_aggregator():
    """A decision counts only from the aggregator; from an institution everybody refuses and names it."""
    table = Table("ABCDE")
    table.until(m.RoundOpened)
    opened = table.unread[0].message
    table.say("C", opened)
    table.until_ended()

    assert faults(table, "not_entitled") == everybody(table, accused="C")
    assert isinstance(ending(table), m.ModelPublished)


def test_an_institution_does_not_speak_for_another():
    """A record in another's name names its sender, not the other."""
    table = Table("ABCDE")
    ack = table.until(m.SurvivorsAcked).message
    table.say("E" if ack.institution != "E" else "D", ack)
    table.until_ended()

    assert {accused for _, accused in faults(table, "impersonation")} <= {"D", "E"}
    assert len(faults(table, "impersonation")) == 6


def test_a_stranger_takes_no_part():
    """Keys of an institution that was not invited are refused."""
    table = Table("ABCD")
    keys = table.until(m.EpochKeys).message
    table.say("Z", replace(keys, institution="Z", channel_key=bytes([9]) + bytes(31), round_keys=bytes(64)))
    table.until_ended()

    assert faults(table, "not_entitled") == everybody(table, accused="Z")
    assert ending(table).contributors == tuple("ABCD")


@pytest.mark.parametrize("kind", [m.MaskedUpdate, m.SurvivorsAcked, m.SharesRevealed, m.EpochShares])
def test_who_is_not_in_the_set_is_refused(kind: type[m.Message]):
    """Outside the roster (shares) or the ready set (everything in a round) nobody is heard."""
    table = Table("ABCDE")
    table.silent = lambda sender, _: sender == "E"
    told = table.until(kind).message
    table.silent = lambda _sender, _message: False
    table.say("E", replace(told, institution="E"))
    table.until_ended()

    assert faults(table, "not_entitled") == readers(table, kind, accused="E")


# --- two records under one identity -------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("kind", "change"),
    [
        (m.EpochKeys, {"round_keys": bytes(range(64))}),
        (m.EpochShares, {"share_tags": bytes(16 * 5 * 2)}),
        (m.MaskedUpdate, {"secret_commitment": bytes(32)}),
        (m.SharesRevealed, {"box": b"another"}),
    ],
)
def test_two_records_under_one_identity(kind: type[m.Message], change: dict[str, bytes]):
    """The first counts; the second is refused by everybody who reads it, and its sender named."""
    table = Table("ABCDE")
    first = table.until(kind)
    table.say(first.sender, replace(first.message, **change))
    table.until_ended()

    assert faults(table, "two_records") == readers(table, kind, accused=first.sender)
    assert isinstance(ending(table), m.ModelPublished)


@pytest.mark.parametrize("kind", [m.EpochKeys, m.EpochShares, m.MaskedUpdate, m.SurvivorsAcked, m.SharesRevealed])
def test_the_same_record_twice_is_no_fault(kind: type[m.Message]):
    """Re-sent after a crash, byte for byte: harmless."""
    table = Table("ABCDE")
    first = table.until(kind)
    table.say(first.sender, first.message)
    table.until_ended()

    assert table.reports == []


def test_our_identity_in_another_process():
    """Keys under our name that we did not draw: we hold no secrets for them, say so, and stay out of the epoch."""
    table = Table("ABCDE")
    replaced(table, m.EpochKeys, lambda said: replace(said, channel_key=b"\x09" + bytes(31)), sender="B")
    table.until(m.RoundOpened)

    assert faults(table, "own_identity_twice") == {("B", "B")}
    assert "B" not in table.coordinator.transcript.pending.peers


def test_our_masked_update_from_another_process():
    """An update under our name that we did not say: we neither ack nor reveal in this round."""
    table = Table("ABCDE")
    replaced(table, m.MaskedUpdate, lambda said: replace(said, secret_commitment=bytes(32)), sender="B")
    table.until_ended()

    assert faults(table, "own_identity_twice") == {("B", "B")}
    assert "B" not in {received.sender for received in table.said(m.SharesRevealed)}


# --- set-up -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "forge",
    [
        lambda said: replace(said, members=(replace(said.members[0], keys_digest=bytes(32)), *said.members[1:])),
        lambda said: replace(said, members=(*said.members, m.RosterMember(institution="Z", keys_digest=bytes(32)))),
        lambda said: replace(said, members=said.members[::-1]),
        lambda said: replace(said, members=said.members[:2], threshold=2),
        lambda said: replace(said, threshold=2),
        lambda said: replace(said, parameters=replace(said.parameters, clip_quanta=999)),
        lambda said: replace(said, first_round=99),
    ],
    ids=["other keys", "a stranger", "unsorted", "two members", "low threshold", "other terms", "other rounds"],
)
def test_a_forged_roster_is_not_adopted(forge: Callable[[m.EpochRoster], m.EpochRoster]):
    """Nobody deals shares for a roster that the log's own keys do not bear out."""
    table = Table("ABCDE")
    replaced(table, m.EpochRoster, forge)
    table.drain()

    assert faults(table, "forged_roster") == everybody(table, accused=AGGREGATOR)
    assert table.said(m.EpochShares) == []


@pytest.mark.parametrize(
    "forge",
    [
        lambda said: replace(said, members=(replace(said.members[0], shares_digest=bytes(32)), *said.members[1:])),
        lambda said: replace(said, members=said.members[:3]),
        lambda said: replace(said, members=said.members[::-1]),
    ],
    ids=["other shares", "below the threshold", "unsorted"],
)
def test_a_forged_ready_set_is_not_adopted(forge: Callable[[m.EpochReady], m.EpochReady]):
    """The peers of the rounds are members whose shares lie in the log, and at least the threshold."""
    table = Table("ABCDE")
    replaced(table, m.EpochReady, forge)
    table.drain()

    assert faults(table, "forged_ready") == everybody(table, accused=AGGREGATOR)


def test_an_invalid_key_keeps_its_owner_out():
    """A key of low order, or one that somebody else advertised, would keep the others from masking: refused at once."""
    table = Table("ABCDE")
    table.until(m.EpochKeys)
    of_a = table.unread[0].message
    replaced(table, m.EpochKeys, lambda said: replace(said, round_keys=bytes(32) + said.round_keys[32:]), sender="B")
    replaced(table, m.EpochKeys, lambda said: replace(said, round_keys=of_a.round_keys), sender="C")
    table.until_ended()

    assert faults(table, "bad_key") == everybody(table, accused="B") | everybody(table, accused="C")


def test_low_order_keys_are_those_that_give_no_secret():
    """Every key on the list is refused by the curve itself, and an ordinary key is not on the list."""
    for number in LOW_ORDER:
        with pytest.raises(Exception, match="low order"):
            x25519_shared(Secret(b"\x07" * 32), number.to_bytes(32, "little"), accused="B")
    assert is_low_order((1 + 2**255).to_bytes(32, "little"))
    assert not is_low_order((9).to_bytes(32, "little"))


def test_a_box_that_does_not_open_names_the_dealer():
    """A dealer whose box does not open is reported by the one it is for; rounds go on, with one share of the dealer less."""
    table = Table("ABCDE")
    replaced(
        table, m.EpochShares, lambda said: replace(said, boxes=bytes(len(said.boxes) // 5) + said.boxes[len(said.boxes) // 5 :]), sender="C"
    )
    table.until_ended()

    assert faults(table, "bad_box") == {("A", "C")}
    assert isinstance(ending(table), m.ModelPublished)


def test_a_share_other_than_committed_names_the_dealer():
    """A dealer who boxes one share and commits to another is reported by the one it is for."""
    table = Table("ABCDE")
    replaced(table, m.EpochShares, lambda said: replace(said, share_tags=bytes(16) + said.share_tags[16:]), sender="C")
    table.until_ended()

    assert faults(table, "bad_share") == {("A", "C")}


# --- a round ------------------------------------------------------------------------------------------------------
def test_another_model_or_ready_set_than_opened():
    """A member who says another model than everybody saw opened was shown another opening, or lies: its update is refused."""
    table = Table("ABCDE")
    replaced(table, m.MaskedUpdate, lambda said: replace(said, model_digest=bytes(32)), sender="D")
    table.until_ended()

    assert faults(table, "split_view") == everybody(table, accused="D")
    assert ending(table).contributors == tuple("ABCE")


def test_two_lists_of_survivors():
    """The first in the log's order is the only one; the second is refused and named, and nobody acks twice."""
    table = Table("ABCDE")
    first = table.until(m.SurvivorsNamed)
    table.say(AGGREGATOR, replace(first.message, survivors=first.message.survivors[:4]))
    table.until_ended()

    assert faults(table, "second_decision") == everybody(table, accused=AGGREGATOR)
    assert len(table.said(m.SurvivorsAcked)) == 5
    assert ending(table).contributors == tuple("ABCDE")


@pytest.mark.parametrize(
    "forge",
    [
        lambda said: replace(said, survivors=said.survivors[:3]),
        lambda said: replace(said, survivors=(*said.survivors, m.Survivor(institution="Z", update_digest=bytes(32)))),
        lambda said: replace(said, survivors=(said.survivors[0], *said.survivors[:4])),
        lambda said: replace(said, survivors=(replace(said.survivors[0], update_digest=bytes(32)), *said.survivors[1:])),
    ],
    ids=["below the threshold", "unknown institution", "one twice", "another update"],
)
def test_an_unmask_request_out_of_range(forge: Callable[[m.SurvivorsNamed], m.SurvivorsNamed]):
    """Nobody acks, so nobody reveals a share, for a list that the log does not bear out."""
    table = Table("ABCDE")
    replaced(table, m.SurvivorsNamed, forge)
    table.drain()

    assert faults(table, "bad_survivors") == everybody(table, accused=AGGREGATOR)
    assert table.said(m.SurvivorsAcked) == []


def test_shares_before_the_quorum_of_acks():
    """Who reveals before the threshold has acked is refused and named."""
    table = Table("ABCDE")
    table.silent = lambda _, message: isinstance(message, m.SurvivorsAcked)
    table.until(m.SurvivorsNamed)
    table.deliver()
    opened = table.coordinator.transcript.opened_round().opened
    table.say(
        "D",
        m.SharesRevealed(
            head=opened.head, group=0, epoch=opened.epoch, round=opened.round, institution="D",
            survivors_digest=table.coordinator.transcript.opened_round().survivors_digest, box=bytes(5 * 32 + 48),
        ),
    )  # fmt: skip
    table.drain()

    assert faults(table, "out_of_phase") == {(AGGREGATOR, "D")}


def test_a_replay_from_an_earlier_round():
    """A masked update of a round that is long over comes too late, whoever appends it again, and changes nothing."""
    table = Table("ABCDE", rounds_per_epoch=4)
    update = table.until(m.MaskedUpdate)
    table.until_ended(2)
    table.until(m.RoundOpened)
    table.deliver()
    table.say(update.sender, update.message)
    table.until_ended()

    assert faults(table, "late") == {(AGGREGATOR, update.sender)}
    assert isinstance(ending(table), m.ModelPublished)


def test_late_is_not_misbehaviour():
    """Updates, keys and shares that nobody has waited for have a name of their own; superfluous acks and shares are no fault at all."""
    table = Table("ABCDE", masked_wait_ms=2_000, keys_wait_ms=2_000, shares_wait_ms=2_000)
    held: list[m.Message] = []
    table.silent = lambda sender, message: sender == "E" and not isinstance(message, m.EpochKeys) and not held.append(message)
    table.until(m.EpochReady)
    table.deliver()
    table.silent = lambda _sender, _message: False
    table.say("E", held[0])
    table.until_ended()
    table.say("D", table.said(m.SharesRevealed)[0].message)

    assert faults(table, "late") == {(AGGREGATOR, "E")}
    assert {report.kind for _, report in table.reports} == {"late"}


def test_a_rollback_of_the_model():
    """A round that starts from an older model, or from another one of the same version, is not opened."""
    table = Table("ABCDE")
    table.until_ended()
    found = table.until(m.RoundOpened)
    say_first(table, AGGREGATOR, replace(found.message, model_version=0))
    say_first(table, AGGREGATOR, replace(found.message, model_digest=bytes(32)))
    table.until_ended()

    assert faults(table, "rollback") == everybody(table, accused=AGGREGATOR)
    assert faults(table, "wrong_digest") == everybody(table, accused=AGGREGATOR)


def test_a_model_that_is_not_of_the_round():
    """A published model with other contributors than the survivors is not adopted."""
    table = Table("ABCDE")
    replaced(table, m.ModelPublished, lambda said: replace(said, contributors=tuple("ABCD")))
    table.drain()

    assert faults(table, "bad_model") == everybody(table, accused=AGGREGATOR)
    assert table.members["A"].transcript.model_version == 0


# --- bad shares and bad sums --------------------------------------------------------------------------------------
def test_a_revealer_who_lies_is_named_and_outvoted():
    """A share that does not fit the dealer's commitment names the revealer; enough others open the sum all the same."""
    table = Table("ABCDEF")
    plain = table.contribute
    table.contribute = lambda name, wanted: plain(name, wanted) if name != "D" else None
    table.until(m.SurvivorsNamed)
    secrets = table.members["E"].secrets[1]
    lies = {dealer: Secret(bytes(len(shares))) for dealer, shares in secrets.held.items()}
    table.members["E"] = table.members["E"].with_secrets(1, replace(secrets, held=lies))
    table.until_ended()

    assert faults(table, "bad_share") == {(AGGREGATOR, "E")}
    assert ending(table).contributors == tuple("ABCEF")


def test_a_dealer_of_wrong_round_key_shares_is_named():
    """Shares that fit their commitments and rebuild another key: the dealer is at fault, and left out of the next epoch."""
    table = Table("ABCDE", renewal_wait_ms=10_000)
    table.until(m.EpochRoster)
    secrets = table.members["E"].secrets[1]
    entropy = Stream("other secrets")
    others = b"".join(draw_secret(entropy).reveal() for _ in range(2))
    table.members["E"] = table.members["E"].with_secrets(1, replace(secrets, round_secrets=Secret(others)))
    table.contribute = lambda name, wanted: None if name == "E" else Table("ABCDE").contribute(name, wanted)
    table.until_ended()
    spoilt = ending(table)
    table.until_ended()

    assert isinstance(spoilt, m.RoundAbandoned)
    assert (spoilt.reason, spoilt.at_fault) == (m.AbandonReason.BAD_SHARES, ("E",))
    assert table.said(m.EpochAnnounced)[1].message.invited == tuple("ABCD")
    assert ending(table).contributors == tuple("ABCD")


def test_a_dealer_of_a_wrong_self_seed_is_named():
    """A self seed other than committed to would spoil the sum: the dealer is at fault."""
    table = Table("ABCDE")
    table.until(m.RoundOpened)
    table.deliver()
    forged = replaced(table, m.MaskedUpdate, lambda said: replace(said, secret_commitment=b"\x01" * 32), sender="E")
    table.members["E"] = replace(table.members["E"], own=replace(table.members["E"].own, said=forged.message.secret_commitment))
    table.until_ended()

    assert (ending(table).reason, ending(table).at_fault) == (m.AbandonReason.BAD_SHARES, ("E",))


def test_masks_that_do_not_cancel():
    """A member who masks otherwise than agreed makes the sum noise: seen by its size, nobody can be named, the round is abandoned."""
    table = Table("ABCDE", dimension=8)
    table.contribute = lambda name, wanted: (
        Table("A", dimension=8).contribute(name, wanted)
        + (np.frombuffer(Stream("noise")(36), dtype="<u4") if name == "E" else ring.zeros(9))
    )
    table.until_ended()

    assert (ending(table).reason, ending(table).at_fault) == (m.AbandonReason.BAD_SUM, ())


def test_two_openings_of_one_round():
    """A member who was shown an opening with other terms masks under another key: the aggregator gets noise instead of a sum."""
    table = Table("ABCDE", dimension=8)
    opened = table.until(m.RoundOpened)
    other = replace(opened.message, survivors_min=5)
    table.unread.popleft()
    table.tell_coordinator(opened)
    for name in table.names:
        table.tell(name, Received(AGGREGATOR, other, digest_of(encode(other)), 1) if name == "E" else opened)
    table.until_ended()

    assert (ending(table).reason, ending(table).at_fault) == (m.AbandonReason.BAD_SUM, ())


def test_chunks_other_than_promised():
    """An update whose chunks are not there spoils the round once: its sender is named and left out of the next epoch."""
    table = Table("ABCDE")
    table.summed = lambda asked: ChunksRefused(asked.round_id, asked.survivors_digest, ("C",), "chunk 1 is absent")
    table.until_ended()
    spoilt = ending(table)
    table.summed = lambda asked: Table.summed(table, asked)
    table.until_ended()

    assert (spoilt.reason, spoilt.at_fault) == (m.AbandonReason.MISBEHAVIOUR, ("C",))
    assert isinstance(table.said(m.EpochClosed)[0].message, m.EpochClosed)
    assert ending(table).contributors == tuple("ABDE")


def test_rounds_are_numbered_from_one():
    """An invitation to rounds before the first is refused; nobody falls over it."""
    table = Table("ABC")
    replaced(table, m.EpochAnnounced, lambda announced: replace(announced, first_round=-5))
    table.drain()

    assert faults(table, "bad_invitation") >= {(name, AGGREGATOR) for name in "ABC"}
    assert table.said(m.EpochKeys) == []


# --- differencing -------------------------------------------------------------------------------------------------
def _spoilt_then(table: Table, names: str) -> m.RoundAbandoned | m.ModelPublished:
    """A round whose sum is opened but gives no model, then one with these contributors only."""
    table.until(m.SharesRevealed, count=5)
    say_first(table, AGGREGATOR, _abandon(table))
    table.drain()
    plain = table.contribute
    table.contribute = lambda name, wanted: plain(name, wanted) if name in names else None
    table.until_ended()
    return ending(table)


def _abandon(table: Table) -> m.RoundAbandoned:
    opened = table.coordinator.transcript.opened_round().opened
    return m.RoundAbandoned(
        head=opened.head, group=0, epoch=opened.epoch, round=opened.round, reason=m.AbandonReason.BAD_SUM, detail="so it says",
        at_fault=(), abandoned_at_ms=table.now_ms,
    )  # fmt: skip


def test_sums_that_would_single_one_out():
    """After a sum that gave no model, the same members without one are not summed: the difference would be that one's update."""
    table = Table("ABCDE")
    second = _spoilt_then(table, "ABCD")

    assert isinstance(second, m.RoundAbandoned)
    assert "by E alone" in second.detail
    assert faults(table, "differencing") == set()


def test_one_who_came_back_waits_for_a_round():
    """After a sum without E that gave no model, E's update is left out once, and the round is not lost."""
    table = Table("ABCDE")
    plain = table.contribute
    table.contribute = lambda name, wanted: plain(name, wanted) if name != "E" else None
    table.until(m.SharesRevealed, count=4)
    say_first(table, AGGREGATOR, _abandon(table))
    table.drain()
    table.contribute = plain
    table.until_ended()
    second = ending(table)

    assert isinstance(second, m.ModelPublished)
    assert second.contributors == tuple("ABCD")
    assert faults(table, "differencing") == set()


def test_members_refuse_to_single_one_out():
    """An aggregator that asks for such a sum all the same gets no acks, and is named."""
    table = Table("ABCDE")
    table.until(m.SharesRevealed, count=5)
    say_first(table, AGGREGATOR, _abandon(table))
    table.drain()
    plain = table.contribute
    table.contribute = lambda name, wanted: plain(name, wanted) if name != "E" else None
    opened = table.until(m.RoundOpened).message
    table.until(m.MaskedUpdate, count=4)
    table.deliver()
    updates = {sent.sender: sent.digest for sent in table.said(m.MaskedUpdate) if sent.message.round == opened.round}
    named = m.SurvivorsNamed(
        head=opened.head, group=0, epoch=opened.epoch, round=opened.round, ready_digest=opened.ready_digest,
        survivors=tuple(m.Survivor(institution=name, update_digest=updates[name]) for name in "ABCD"),
    )  # fmt: skip
    say_first(table, AGGREGATOR, named)
    table.until_ended()

    assert faults(table, "differencing") == {(name, AGGREGATOR) for name in table.names}
    assert isinstance(ending(table), m.RoundAbandoned)


def test_the_same_members_again_are_summed():
    """After a sum that gave no model, exactly the same members may be summed again."""
    table = Table("ABCDE")
    second = _spoilt_then(table, "ABCDE")

    assert isinstance(second, m.ModelPublished)
    assert faults(table, "differencing") == set()


# --- terms --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("terms", "kind"),
    [
        ({"cost_max": 100.0}, "bad_parameters"),
        ({"period_days": 366}, "bad_parameters"),
        ({"layout_digest": bytes(32)}, "bad_parameters"),
        ({"members_min": 6}, "small_roster"),
        ({"survivors_min": 5}, "bad_round"),
    ],
)
def test_terms_that_an_institution_does_not_accept(terms: dict[str, float], kind: str):
    """An institution stays out of an epoch or a round that is not on its own terms, and says why; the others go on."""
    table = Table("ABCDE")
    settings = table.members["B"].settings
    table.members["B"] = replace(table.members["B"], settings=replace(settings, terms=replace(settings.terms, **terms)))
    table.until_ended()

    assert faults(table, kind) == {("B", AGGREGATOR)}
    assert ending(table).contributors == tuple("ACDE")


def test_reports_say_which_round():
    """A fault in a round carries the round's identity for the audit."""
    table = Table("ABCDE")
    first = table.until(m.SurvivorsNamed)
    table.say(AGGREGATOR, replace(first.message, survivors=first.message.survivors[:4]))
    table.until_ended()
    rounds = {report.round_id.round for _, report in table.reports if isinstance(report, Report) and report.round_id}

    assert rounds == {1}


def test_secrets_do_not_show():
    """A repr of the state shows no byte of a secret."""
    table = Table("ABCDE")
    table.until(m.SharesRevealed)
    secrets = table.members["A"].secrets[1]

    assert isinstance(secrets, EpochSecrets)
    assert "held" not in repr(secrets)
    assert "Secret(32 bytes)" in repr(table.members["A"])
