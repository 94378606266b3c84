"""An institution's step: one mask, one ack, one reveal per round; secrets gone when their round is over."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from federation import messages as m
from federation.errors import OwnFault
from federation.ids import RoundId
from federation.rounds import participant
from federation.rounds.effects import ChunksSummed, ContributionReady, PrepareContribution, Publish, RoundEnded, Tick, model_digest
from federation.rounds.participant_record import from_record, to_record
from federation.rounds.participant_state import ParticipantSettings, Terms
from federation.rounds.phases import MemberStage
from streams.codec import decode, encode
from tests.sim.table import AGGREGATOR, FEDERATION, LANE, LAYOUT, Stream, Table, contribution_of


def opened_table(names: str = "ABCDE") -> tuple[Table, RoundId]:
    """A table at an open round in which nobody has contributed yet."""
    table = Table(names)
    table.contribute = lambda _name, _wanted: None
    table.until(m.RoundOpened)
    table.deliver()
    return table, table.coordinator.transcript.round_id()


def test_a_second_contribution_for_one_round():
    """Another vector under the same keys would cancel the mask: OwnFault, and the state stays as it was."""
    table, round_id = opened_table()
    values = contribution_of("A", round_id, 3)
    state, effects = participant.step(table.members["A"], ContributionReady(round_id, values), Stream(1))
    with pytest.raises(OwnFault, match="has been masked"):
        participant.step(state, ContributionReady(round_id, values), Stream(1))

    assert state.stage is MemberStage.MASKED
    assert sum(isinstance(effect, Publish) and isinstance(effect.message, m.MaskedUpdate) for effect in effects) == 1


def test_chunks_are_said_before_the_update_that_names_them():
    """Whoever reads the update may rely on its chunks lying in the log."""
    table, round_id = opened_table()
    _, effects = participant.step(table.members["A"], ContributionReady(round_id, contribution_of("A", round_id, 3)), Stream(1))
    kinds = [type(effect.message) for effect in effects if isinstance(effect, Publish)]

    assert kinds == [m.MaskedChunk, m.MaskedChunk, m.MaskedUpdate]


@pytest.mark.parametrize("values", [np.zeros(3, dtype=np.uint32), np.zeros(4, dtype=np.int64), np.zeros((4, 1), dtype=np.uint32)])
def test_a_contribution_of_the_wrong_shape(values: np.ndarray):
    """A vector that does not fit the round is the shell's fault; the round is still open for the right one."""
    table, round_id = opened_table()
    with pytest.raises(OwnFault):
        participant.step(table.members["A"], ContributionReady(round_id, values), Stream(1))

    assert participant.wanted(table.members["A"]) is not None


def test_a_late_contribution_is_dropped():
    """After the deadline, after the survivors are named, or when the round is over, nothing is masked any more."""
    table, round_id = opened_table()
    ready = ContributionReady(round_id, contribution_of("A", round_id, 3))
    opened = table.coordinator.transcript.opened_round().opened
    late, _ = participant.step(table.members["A"], Tick(opened.masked_deadline_ms), Stream(1))
    assert participant.step(late, ready, Stream(1)) == (late, ())

    for name in "BCDE":
        table.tell(name, ContributionReady(round_id, contribution_of(name, round_id, 3)))
        table.contributions[name, 1] = contribution_of(name, round_id, 3)
    table.until(m.SurvivorsNamed)
    table.deliver()
    acked = table.members["A"]
    assert participant.step(acked, ready, Stream(1)) == (acked, ())
    table.until_ended()
    over = table.members["A"]
    assert participant.step(over, ready, Stream(1)) == (over, ())


def test_who_was_late_still_acks_and_reveals():
    """A ready member whose update is not among the survivors helps to open the sum of the others."""
    table, round_id = opened_table()
    for name in "BCDE":
        table.tell(name, ContributionReady(round_id, contribution_of(name, round_id, 3)))
    table.until_ended()

    assert "A" in {received.sender for received in table.said(m.SurvivorsAcked)}
    assert "A" in {received.sender for received in table.said(m.SharesRevealed)}
    assert ("A", False) in {(name, ended.included) for name, ended in table.ended}


def test_the_shell_learns_what_it_needs_for_a_contribution():
    """Parameters, the model, the deadline, and how many honest shares of noise are certain: threshold less a third."""
    table = Table("ABCDE")
    asked: list[PrepareContribution] = []
    table.contribute = lambda _name, wanted: asked.append(wanted)
    opened = table.until(m.RoundOpened).message
    table.deliver()

    assert len(asked) == 5
    assert {wanted.honest_survivors for wanted in asked} == {4 - 1}
    assert {wanted.model_digest for wanted in asked} == {model_digest(table.start)}
    assert {wanted.masked_deadline_ms for wanted in asked} == {opened.masked_deadline_ms}
    assert participant.wanted(table.members["A"]) == asked[0]


def test_no_contribution_is_wanted_once_it_is_masked():
    """A restarted shell is not asked to mask again."""
    table = Table("ABCDE")
    table.until(m.MaskedUpdate)

    assert participant.wanted(table.members["A"]) is None


def test_an_invitation_that_is_over_is_not_answered():
    """A reader that catches up on old epochs does not flood the log with keys."""
    table = Table("ABCDE")
    announced = table.until(m.EpochAnnounced)
    state, _ = participant.step(table.members["A"], Tick(announced.message.keys_deadline_ms), Stream(1))
    _, effects = participant.step(state, announced, Stream(1))

    assert effects == ()


def test_secrets_are_erased_when_their_round_is_over():
    """After a round's end no byte of its secrets is in the saved state: not our key, not the peers' shares, not our seed share."""
    table = Table("ABCDE", rounds_per_epoch=4)
    table.until(m.SharesRevealed)
    state = table.members["A"]
    secrets = state.secrets[1]
    dead = [secrets.round_secret(1).reveal(), *(secrets.share(dealer, 1) for dealer in "ABCDE")]
    assert state.own.self_share is not None
    dead.append(state.own.self_share.reveal())
    before = encode(to_record(state))
    table.until_ended()
    after = encode(to_record(table.members["A"]))

    assert all(secret in before for secret in dead if secret is not None)
    assert not any(secret in after for secret in dead if secret is not None)
    with pytest.raises(OwnFault, match="erased"):
        table.members["A"].secrets[1].round_secret(1)


def test_an_abandoned_round_burns_its_keys():
    """A round that came to nothing leaves no secrets either."""
    table, _ = opened_table()
    table.until_ended()

    assert table.members["A"].secrets[1].first_left == 2


def test_an_epochs_secrets_go_with_the_epoch():
    """The first round of the next epoch, or its closing, erases all of the last one's, the keys of its boxes included.

    The secret that those were made of was erased before, when they were.
    """
    table = Table("ABCDE", rounds_per_epoch=2)
    table.until(m.EpochRoster)
    assert len(table.members["A"].secrets[1].channel) == 32
    table.until_ended(2)
    assert len(table.members["A"].secrets[1].channel) == 0
    channel = table.members["A"].secrets[1].channel_key(2).reveal()
    assert channel in encode(to_record(table.members["A"]))
    table.until_ended(1)

    assert set(table.members["A"].secrets) == {2}
    assert channel not in encode(to_record(table.members["A"]))


def test_the_record_is_the_state():
    """Saved and read back after every single record, a history goes on exactly as if it had not been."""
    plain, saved = Table("ABCDE"), Table("ABCDE")
    for _ in range(120):
        for table in (plain, saved):
            if table.unread:
                table.deliver()
            else:
                table.tick()
        for name in saved.names:
            state = saved.members[name]
            record = decode(encode(to_record(state)), (m.ParticipantSaved,), 8_000_000)
            assert isinstance(record, m.ParticipantSaved)
            saved.members[name] = participant.step(from_record(state.settings, record), saved.who_is_who(), Stream())[0]

    assert [received.digest for received in saved.log] == [received.digest for received in plain.log]
    assert len(saved.said(m.ModelPublished)) >= 2


def test_a_record_of_another_party_is_refused():
    """A database mixed up between two institutions stops the worker."""
    table = Table("ABC")
    with pytest.raises(OwnFault):
        from_record(table.members["B"].settings, to_record(table.members["A"]))


def test_a_model_is_adopted_by_members_and_onlookers_alike():
    """Who is not in the epoch still learns which model is the newest, and that its own update is not in it."""
    table = Table("ABCDE")
    table.silent = lambda sender, _: sender == "E"
    table.until_ended()

    assert {member.transcript.model_version for member in table.members.values()} == {1}
    assert ("E", False) in {(name, ended.included) for name, ended in table.ended}


def test_a_reader_from_the_middle_of_the_log():
    """Retention has taken the beginning: the first opening it can check tells it the model, and nobody is accused."""
    table = Table("ABCDE", rounds_per_epoch=3, rounds_left_min=2)
    table.until_ended(5)
    table.drain()
    second = table.log.index(table.said(m.EpochAnnounced)[1])
    state, _ = participant.step(table.fresh_member("A"), Tick(table.now_ms), Stream(2))
    effects = []
    for received in table.log[second - 3 :]:
        state, new = participant.step(state, received, Stream(2))
        effects += new

    assert state.transcript.model_version == 5
    assert {type(effect) for effect in effects} == {RoundEnded}


def test_events_of_the_other_side_are_refused():
    """A participant is not told sums."""
    table = Table("ABC")
    with pytest.raises(OwnFault):
        participant.step(table.members["A"], ChunksSummed(RoundId(LANE, 1, 1), b"", np.zeros(4, dtype=np.uint32)), Stream(1))


@pytest.mark.parametrize("bad", [{"aggregator": "A"}, {"terms": {"survivors_min": 2}}, {"terms": {"members_min": 2}}])
def test_settings_are_checked(bad: dict[str, object]):
    """Impossible settings stop the worker when it starts."""
    terms = Terms(dimension=3, layout_digest=LAYOUT, **bad.pop("terms", {}))
    arguments: dict[str, object] = {
        "federation": FEDERATION, "lane": LANE, "party": "A", "aggregator": AGGREGATOR, **bad,
    }  # fmt: skip
    with pytest.raises(OwnFault):
        ParticipantSettings(**arguments, terms=terms)


def test_time_does_not_run_backwards():
    """A clock that was set back does not reopen a deadline."""
    state = Table("ABC").members["A"]
    state, _ = participant.step(state, Tick(1000), Stream(1))
    state, _ = participant.step(state, Tick(10), Stream(1))

    assert state.now_ms == 1000


def test_another_lane_is_not_ours():
    """One partition carries every cohort of a head: the other cohorts' records change nothing."""
    table, _ = opened_table()
    state = table.members["A"]
    for received in table.log:
        other = replace(received, message=replace(received.message, group=1))
        assert participant.step(state, other, Stream(1)) == (state, ())
