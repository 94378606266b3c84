"""One record of the log, read: who may say it, then whether it may stand here, then what it establishes.

Called by `coordinator.step` and `participant.step`.
Never half-reads: a refused record raises PeerFault and the transcript stays as it was."""

from __future__ import annotations

from collections.abc import Mapping

from federation import messages as m
from federation.errors import PeerFault
from federation.rounds import transcript_epoch, transcript_round
from federation.rounds.effects import Received
from federation.rounds.phases import AGGREGATOR_SAYS, INSTITUTION_SAYS
from federation.rounds.transcript import LaneMessage, Transcript, in_lane


def fold(transcript: Transcript, received: Received) -> Transcript:
    """The transcript with one more record read; the very same object if the record says nothing new, is of another lane,
    or of an epoch before the first that was read.

    PeerFault: the sender may not say it ("not_entitled", "impersonation"), or not any more under this certificate
    ("stale_certificate"), the table does not permit it ("out_of_phase", "stale"), or it is wrong.
    """
    message = received.message
    if not isinstance(message, LaneMessage):
        raise PeerFault("not_entitled", f"{type(message).__name__} does not belong in the rounds' log", accused=received.sender)
    if not in_lane(transcript, message):
        return transcript
    check_entitled(message, received, transcript.aggregator, transcript.serials)
    # A reader that starts in the middle of the log has not seen the beginning of earlier epochs: nobody's fault.
    if message.epoch < transcript.epoch_first or (transcript.epoch_first == 0 and not isinstance(message, m.EpochAnnounced)):
        return transcript
    after = _read(transcript, message, received)
    # From the first record under a newer certificate on, a thief of the older key is not heard: the log's order says when, to all alike.
    return after if after is transcript else after.heard_under({received.sender: received.serial})


def check_entitled(message: m.Message, received: Received, aggregator: str, serials: Mapping[str, int]) -> None:
    """PeerFault "stale_certificate", "not_entitled" or "impersonation" unless the sender may say this, under this certificate."""
    sender, least = received.sender, serials.get(received.sender, 0)
    if received.serial < least:
        raise PeerFault("stale_certificate", f"signed under certificate {received.serial}, here it speaks under {least}", accused=sender)
    if isinstance(message, AGGREGATOR_SAYS) and sender != aggregator:
        raise PeerFault("not_entitled", f"only the aggregator says {type(message).__name__}", accused=sender)
    if isinstance(message, INSTITUTION_SAYS) and message.institution != sender:
        raise PeerFault("impersonation", f"{type(message).__name__} in the name of {message.institution}", accused=sender)


def _read(transcript: Transcript, message: LaneMessage, received: Received) -> Transcript:  # noqa: C901, PLR0911, PLR0912  # One branch per message.
    match message:
        case m.EpochAnnounced():
            return transcript_epoch.announced(transcript, message, received)
        case m.EpochKeys():
            return transcript_epoch.keys(transcript, message, received)
        case m.EpochRoster():
            return transcript_epoch.roster(transcript, message, received)
        case m.EpochShares():
            return transcript_epoch.shares(transcript, message, received)
        case m.EpochReady():
            return transcript_epoch.ready(transcript, message, received)
        case m.EpochClosed():
            return transcript_epoch.closed(transcript, message, received)
        case m.RoundOpened():
            return transcript_round.opened(transcript, message, received)
        case m.MaskedUpdate():
            return transcript_round.masked(transcript, message, received)
        case m.SurvivorsNamed():
            return transcript_round.survivors_named(transcript, message, received)
        case m.SurvivorsAcked():
            return transcript_round.acked(transcript, message, received)
        case m.SharesRevealed():
            return transcript_round.revealed(transcript, message, received)
        case m.ModelPublished():
            return transcript_round.published(transcript, message, received)
        case m.SumOpened():
            return transcript_round.sum_opened(transcript, message, received)
        case m.RoundAbandoned():
            return transcript_round.abandoned(transcript, message, received)
