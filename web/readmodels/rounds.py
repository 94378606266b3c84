"""The rounds of every head, folded from the federation's log.

Fed by `web.feed` with verified messages of rounds.v1; shown by the live page and `/api/v1/rounds`.
Never keeps more than the newest `RECENT_MAX` rounds of a head."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, TypeAlias

from federation import messages as m

RECENT_MAX: Final = 200
_Moves: TypeAlias = (
    m.MaskedUpdate | m.SurvivorsNamed | m.SurvivorsAcked | m.SharesRevealed | m.ModelPublished | m.SumOpened | m.RoundAbandoned
)


@dataclass(frozen=True, slots=True)
class RoundRow:
    """One round as a person sees it; `ended_at_ms` None while it runs."""

    head: m.HeadName
    group: int
    epoch: int
    round: int
    opened_at_ms: int
    masked_deadline_ms: int
    updates: tuple[str, ...] = ()
    survivors: tuple[str, ...] = ()
    late: tuple[str, ...] = ()  # Their updates came when the survivors were named already.
    acked: tuple[str, ...] = ()
    revealed: tuple[str, ...] = ()
    blamed: tuple[str, ...] = ()  # Named as at fault where the round was abandoned.
    state: str = "masking"  # masking, unmasking, published, abandoned; of a group also summed, until it is merged
    version: int | None = None
    customers: int | None = None
    epsilon: float | None = None  # As ModelPublished says; None also without noise.
    reason: str = ""
    ended_at_ms: int | None = None

    @property
    def duration_ms(self) -> int | None:
        """From opening to the end; None while it runs."""
        return None if self.ended_at_ms is None else self.ended_at_ms - self.opened_at_ms


def _with(names: tuple[str, ...], name: str) -> tuple[str, ...]:
    return tuple(sorted({*names, name}))


def _with_update(row: RoundRow, institution: str) -> RoundRow:
    if row.survivors or row.ended_at_ms is not None:
        return row if institution in row.updates else replace(row, late=_with(row.late, institution))
    return replace(row, updates=_with(row.updates, institution))


@dataclass
class HeadRounds:
    """What is known of one head's rounds."""

    recent: deque[RoundRow] = field(default_factory=lambda: deque(maxlen=RECENT_MAX))
    published: int = 0
    abandoned: int = 0
    version: int = 0
    merged: int = 0  # The last round of its groups that is over.
    epoch: int = 0
    members: Mapping[int, tuple[str, ...]] = field(default_factory=dict)  # By group; 0 where the head has none.

    def members_of(self, epoch: int, group: int) -> tuple[str, ...]:
        """Who is ready for rounds in a group; nobody known of another epoch than the newest."""
        return self.members.get(group, ()) if epoch == self.epoch else ()


class Rounds:
    """Fold of rounds.v1; the first decision on a round in the log's order is the one that counts."""

    def __init__(self) -> None:
        self.heads: dict[m.HeadName, HeadRounds] = {head: HeadRounds() for head in m.HeadName}

    def apply(self, message: m.Message) -> None:
        """Fold one message; messages that rounds do not show are passed over."""
        if isinstance(message, m.EpochReady):
            head, names = self.heads[message.head], tuple(member.institution for member in message.members)
            beside = head.members if head.epoch == message.epoch and message.group > 0 else {}
            head.epoch, head.members = message.epoch, {**beside, message.group: names}
        elif isinstance(message, m.RoundOpened):
            row = RoundRow(message.head, message.group, message.epoch, message.round, message.opened_at_ms, message.masked_deadline_ms)
            if self._find(message) is None:
                self.heads[message.head].recent.append(row)
        elif isinstance(message, _Moves):
            self._advance(message)
        elif isinstance(message, m.GroupsMerged | m.MergeAbandoned):
            self._merge(message)

    def _find(self, message: m.RoundOpened | _Moves) -> int | None:
        recent = self.heads[message.head].recent
        for index in range(len(recent) - 1, -1, -1):
            if (recent[index].group, recent[index].round) == (message.group, message.round):
                return index
        return None

    def _advance(self, message: _Moves) -> None:
        head = self.heads[message.head]
        index = self._find(message)
        if index is None:
            return
        row = head.recent[index]
        if isinstance(message, m.MaskedUpdate):
            head.recent[index] = _with_update(row, message.institution)
            return
        if row.ended_at_ms is not None:
            return
        if isinstance(message, m.SurvivorsNamed) and not row.survivors:
            row = replace(row, survivors=tuple(s.institution for s in message.survivors), state="unmasking")
        elif isinstance(message, m.SurvivorsAcked):
            row = replace(row, acked=_with(row.acked, message.institution))
        elif isinstance(message, m.SharesRevealed):
            row = replace(row, revealed=_with(row.revealed, message.institution))
        elif isinstance(message, m.ModelPublished):
            row = replace(row, state="published", version=message.version, ended_at_ms=message.published_at_ms)
            row = replace(row, customers=message.customers, epsilon=message.epsilon)
            head.published, head.version = head.published + 1, message.version
        elif isinstance(message, m.SumOpened):
            row = replace(row, state="summed", customers=message.customers, ended_at_ms=message.opened_at_ms)
        elif isinstance(message, m.RoundAbandoned):
            row = replace(row, state="abandoned", reason=f"{message.reason.value}: {message.detail}", ended_at_ms=message.abandoned_at_ms)
            row = replace(row, blamed=message.at_fault)
            head.abandoned += message.group == 0  # A round of groups is over when they are merged, or not.
        head.recent[index] = row

    def _merge(self, message: m.GroupsMerged | m.MergeAbandoned) -> None:
        """What came of the groups' sums of a round."""
        head = self.heads[message.head]
        if message.round <= head.merged:
            return
        head.merged = message.round
        if isinstance(message, m.GroupsMerged):
            head.published, head.version = head.published + 1, message.version
        else:
            head.abandoned += 1
        for index, row in enumerate(head.recent):
            if row.state == "summed" and (row.epoch, row.round) == (message.epoch, message.round):
                head.recent[index] = (
                    replace(row, state="published", version=message.version)
                    if isinstance(message, m.GroupsMerged)
                    else replace(row, state="abandoned", reason=f"{message.reason.value}: {message.detail}")
                )

    def newest(self, most: int) -> Iterator[RoundRow]:
        """The newest rounds of all heads, newest first."""
        rows = sorted((row for head in self.heads.values() for row in head.recent), key=lambda row: row.opened_at_ms, reverse=True)
        yield from rows[:most]
