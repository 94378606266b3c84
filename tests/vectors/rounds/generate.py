"""Makes the transcripts in this folder anew: `python -m tests.vectors.rounds.generate`.

Run by a person after an intended change of the protocol; the difference then belongs into the changelog.
Never run by a test: vectors that follow the code would prove nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from federation import messages as m
from federation.ids import digest_of
from federation.rounds.effects import Received
from federation.secagg.keys import Secret, x25519_public
from federation.secagg.sealing import seal, unseal
from federation.secagg.shares import draw_secret
from streams.codec import encode
from tests.sim.table import AGGREGATOR, Stream
from tests.sim.transcripts import Recorder

FOLDER = Path(__file__).parent


def _said_otherwise(table: Recorder, sender: str, kind: type[m.Message], change: Callable[[Any], m.Message]) -> None:
    """Go on until `sender` says a message of this kind, and let it say another in its place."""
    while table.until(kind).sender != sender:
        table.deliver()
    found = table.unread[0]
    message = change(found.message)
    forged = Received(sender, message, digest_of(encode(message)), 1)
    table.unread[0], table.log[table.log.index(found)] = forged, forged


def _without(table: Recorder, silent: str) -> None:
    contribute = table.contribute
    table.contribute = lambda name, wanted: None if name in silent else contribute(name, wanted)


def five_two_silent() -> dict[str, Any]:
    table = Recorder("ABCDEFG")
    _without(table, "FG")
    table.until(m.SurvivorsNamed)
    table.silent = lambda sender, _: sender in "FG"
    table.until_ended()
    return table.to_json("Seven members; two never contribute and are silent from then on. The five are summed exactly.")


def bad_share_index() -> dict[str, Any]:
    table = Recorder("ABCDE")

    def shifted(said: m.SharesRevealed) -> m.SharesRevealed:
        plain = unseal(said.box, table.sealing_secret, plain_bytes=5 * 32, accused="E")
        return replace(said, box=seal(plain[32:] + plain[:32], x25519_public(table.sealing_secret), entropy=Stream("shifted")))

    _said_otherwise(table, "E", m.SharesRevealed, shifted)
    table.until_ended()
    return table.to_json(
        "E reveals good shares in the wrong places: each misses its dealer's commitment. The other four open the sum.", "E"
    )


def bad_reused_mask() -> dict[str, Any]:
    table = Recorder("ABCDE")
    found = table.until(m.MaskedUpdate)
    table.say(found.sender, replace(found.message, chunk_digests=tuple(digest_of(bytes([at])) for at in range(2))))
    table.until_ended()
    return table.to_json(f"{found.sender} says a second masked update under the same keys: refused, the first counts.", found.sender)


def bad_round_key_shares() -> dict[str, Any]:
    table = Recorder("ABCDE")
    table.until(m.EpochRoster)
    entropy = Stream("another secret")
    state = table.members["E"]
    table.members["E"] = state.with_secrets(1, replace(state.secrets[1], round_secrets=Secret(draw_secret(entropy).reveal())))
    _without(table, "E")
    table.until_ended()
    return table.to_json("E deals shares of another key than it advertised, and drops out: the round ends, E is at fault.", "E")


def bad_self_seed() -> dict[str, Any]:
    table = Recorder("ABCDE")
    _said_otherwise(table, "E", m.MaskedUpdate, lambda said: replace(said, secret_commitment=bytes(range(32))))
    table.until_ended()
    return table.to_json("E commits to another self seed than it deals: the round ends, E is at fault.", "E")


def two_survivor_lists() -> dict[str, Any]:
    table = Recorder("ABCDE")
    found = table.until(m.SurvivorsNamed)
    table.say(AGGREGATOR, replace(found.message, survivors=found.message.survivors[:4]))
    table.until_ended()
    return table.to_json("The aggregator names two lists of survivors: the first counts, nobody acks twice.", [AGGREGATOR])


def below_threshold() -> dict[str, Any]:
    table = Recorder("ABCDE")
    _said_otherwise(table, AGGREGATOR, m.SurvivorsNamed, lambda said: replace(said, survivors=said.survivors[:3]))
    table.drain()
    return table.to_json("The aggregator asks to unmask a sum over three of five: nobody acks.", [AGGREGATOR])


def forged_roster() -> dict[str, Any]:
    table = Recorder("ABCDE")
    stranger = m.RosterMember(institution="Z", keys_digest=bytes(32))
    _said_otherwise(table, AGGREGATOR, m.EpochRoster, lambda said: replace(said, members=(*said.members, stranger)))
    table.drain()
    return table.to_json("The aggregator slips a member without keys into the roster: nobody deals shares.", [AGGREGATOR])


def another_model() -> dict[str, Any]:
    table = Recorder("ABCDE")
    _said_otherwise(table, "D", m.MaskedUpdate, lambda said: replace(said, model_digest=bytes(32)))
    table.until_ended()
    return table.to_json("D was shown another model than the others, or says so: its update is not counted.", "D")


def unentitled_opening() -> dict[str, Any]:
    table = Recorder("ABCDE")
    found = table.until(m.RoundOpened)
    table.say("C", found.message)
    table.until_ended()
    return table.to_json("C opens a round as if it were the aggregator: refused.", "C")


TRANSCRIPTS = (
    five_two_silent, bad_share_index, bad_reused_mask, bad_round_key_shares, bad_self_seed, two_survivor_lists, below_threshold,
    forged_roster, another_model, unentitled_opening,
)  # fmt: skip

if __name__ == "__main__":
    for make in TRANSCRIPTS:
        (FOLDER / f"{make.__name__}.json").write_text(json.dumps(make(), indent=1) + "\n")
