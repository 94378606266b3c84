"""What part of the queue somebody looks at, as it stands in the page's address.

Read by `web.cases.store`; a saved view is such an address with a name.
Never fails on an address that somebody wrote by hand: what it does not know, it leaves out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlencode

from federation.limits import NAME_LENGTH_MAX
from federation.messages import HeadName
from web.cases.case import SLA_MS, State

CUSTOMER_LENGTH_MIN: Final = 3  # A shorter search would list the customers.
PAGE_MAX: Final = 10_000
STATES: Final = ("active", *State, "all")
OWNERS: Final = ("anyone", "me", "nobody")
SORTS: Final[Mapping[str, str]] = {
    "priority": "Priority",
    "due": "Due first",
    "risk": "Risk",
    "amount": "Amount",
    "newest": "Newest",
}


@dataclass(frozen=True)
class Filters:
    """A part of the queue, and its order."""

    state: str = "active"  # Open, assigned and decided together.
    head: HeadName | None = None
    owner: str = "anyone"
    late: bool = False
    amount_min: float = 0.0
    customer: str = ""
    sort: str = "priority"
    page: int = 1

    @classmethod
    def of(cls, query: Mapping[str, str]) -> Filters:
        """From the address."""
        usual, heads = cls(), {head.value: head for head in SLA_MS}
        customer = query.get("customer", "").strip()[:NAME_LENGTH_MAX]
        return cls(
            state=_one_of(STATES, query.get("state"), usual.state),
            head=heads.get(query.get("head", "")),
            owner=_one_of(OWNERS, query.get("owner"), usual.owner),
            late=query.get("late") == "yes",
            amount_min=float(_number(query.get("amount_min", ""), 0, 10**12)),
            customer=customer if len(customer) >= CUSTOMER_LENGTH_MIN else "",
            sort=_one_of(SORTS, query.get("sort"), usual.sort),
            page=_number(query.get("page", ""), 1, PAGE_MAX),
        )

    def query(self, **changes: object) -> str:
        """The address's query, without what is usual; with `changes`, of a neighbour.

        >>> Filters(state="closed", page=2).query(page=3)
        'state=closed&page=3'
        """
        usual, values = vars(Filters()), {**vars(self), **changes}
        shown = {name: _text(value) for name, value in values.items() if value != usual[name]}
        return urlencode(shown)


def _text(value: object) -> str:
    if value is True:
        return "yes"
    return f"{value:.0f}" if isinstance(value, float) else str(value)


def _one_of(known: Mapping[str, str] | tuple[str, ...], given: str | None, usual: str) -> str:
    return given if given is not None and given in known else usual


def _number(text: str, least: int, most: int) -> int:
    return min(max(int(text), least), most) if text.isascii() and text.isdigit() and len(text) < 20 else least
