"""Loans guaranteed by the US Small Business Administration: the five largest lenders of the file, each an institution.

Called by `selection`. Source: Li, Mickel and Taylor, "Should This Loan be Approved or Denied?", Journal of Statistics
Education 26(1), 2018 (columns and their meaning).
Never reads a charge-off's date or amount into an application: they are the outcome."""

from __future__ import annotations

import datetime as dt
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from federation.errors import OwnFault
from federation.messages import CreditApplication
from riverbank.arrivals import DAY_MS, Arrival, customer_id, outcome_of, with_outcomes
from riverbank.datasets.files import date_ms, find_file, number_of, read_rows

FILE: Final = "SBAnational*.csv"
LATEST: Final = dt.date(2014, 12, 31)
"""The file knows nothing after 2014: a loan that runs longer and is marked as paid is known as paid on this day."""

OTHERS: Final = "other-lenders"

_MONTHS: Final = {
    name: number for number, name in enumerate(("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"), 1)
}
_FORM: Final = re.compile(r"\b(NATL|NATIONAL) (ASSOC|ASSOCIATION)\b")


class Loan(NamedTuple):
    """One row, as text; the names are the file's columns."""

    LoanNr_ChkDgt: str
    State: str
    Bank: str
    NAICS: str
    ApprovalDate: str
    Term: str
    NoEmp: str
    NewExist: str
    CreateJob: str
    RetainedJob: str
    FranchiseCode: str
    UrbanRural: str
    RevLineCr: str
    LowDoc: str
    ChgOffDate: str
    DisbursementGross: str
    MIS_Status: str
    GrAppv: str
    SBA_Appv: str


def lender_name(bank: str) -> str:
    """A lender's name as an institution's: "PNC BANK, NATIONAL ASSOCIATION" is pnc-bank."""
    return re.sub(r"[^a-z0-9]+", "-", _FORM.sub("", bank.upper()).lower()).strip("-")[:60].rstrip("-")


def lenders(folder: Path, count: int) -> dict[str, str]:
    """The `count` lenders with most rows, most first: as the file spells them -> the institution's name.

    OwnFault if the file names fewer.
    """
    path = find_file(folder, FILE)
    rows = Counter(bank for bank, _ in read_rows(path, ("Bank", "LoanNr_ChkDgt")) if lender_name(bank))
    if len(rows) < count:
        raise OwnFault(f"{path} names {len(rows)} lenders, and {count} institutions are asked for: ask for fewer, or take the whole file")
    found: dict[str, str] = {}
    for bank, _ in sorted(rows.items(), key=lambda item: (-item[1], item[0]))[:count]:
        name = lender_name(bank)
        namesakes = sum(lender_name(other) == name for other in found)
        found[bank] = f"{name}-{namesakes + 1}" if namesakes else name
    return found


def lenders_and_others(folder: Path, largest: int) -> dict[str, str]:
    """Every lender of the file -> its institution: the `largest` with most rows have one each, all others share OTHERS, the last."""
    found = lenders(folder, largest)
    banks = sorted({bank for bank, _ in read_rows(find_file(folder, FILE), ("Bank", "LoanNr_ChkDgt"))})
    return found | {bank: OTHERS for bank in banks if bank not in found}


def date_of(text: str) -> dt.date | None:
    """The day of "2/28/1997" or "28-Feb-97"; two-digit years end with the file: 71 is 1971, 14 is 2014. None if it is spelt otherwise."""
    try:
        if "/" in text:
            month, day, year = map(int, text.split("/"))
        else:
            day_text, month_name, year_text = text.strip().split("-")
            day, month, year = int(day_text), _MONTHS[month_name.title()], int(year_text)
        if year < 100:
            year += 1900 if year > LATEST.year % 100 else 2000
        return dt.date(year, month, day)
    except (ValueError, KeyError):
        return None


def arrivals(
    folder: Path, refused: Counter[str], names: Mapping[str, str], *, outcome_days_max: int | None = None, with_term: bool = True
) -> Iterator[Arrival]:
    """Applications at their approval date and outcomes after it, in time order.

    `names`: as `lenders` or `lenders_and_others` gives them; rows of other lenders are left out.
    `outcome_days_max`: no outcome later than this many days after its application (None: as the file says, years later).
    `with_term` False leaves out the term, which the file shortens for loans that were charged off early.
    """
    index = {name: number for number, name in enumerate(dict.fromkeys(names.values()))}
    found: list[tuple[int, Loan]] = []
    for row in read_rows(find_file(folder, FILE), Loan._fields):
        loan = Loan._make(row)
        if loan.Bank in names:
            approved = date_of(loan.ApprovalDate)
            if approved is None:
                refused["approval date unreadable"] += 1
            elif reason := _refusal(loan, approved):
                refused[reason] += 1
            else:
                found.append((date_ms(approved), loan))
    found.sort(key=lambda item: item[0])  # Stable: within a day the file's order, which is by loan number.
    return with_outcomes(
        (
            Arrival(names[loan.Bank], application := _application(loan, index[names[loan.Bank]], at_ms, with_term=with_term)),
            outcome_of(application, positive=loan.MIS_Status == "CHGOFF", known_at_ms=_known_at_ms(loan, at_ms, outcome_days_max)),
        )
        for at_ms, loan in found
    )


def _refusal(loan: Loan, approved: dt.date) -> str | None:
    """Why this row cannot be used; None if it can."""
    charged_off = date_of(loan.ChgOffDate)
    reasons = {
        "no loan status": not loan.MIS_Status,
        "unknown loan status": loan.MIS_Status not in {"", "P I F", "CHGOFF"},
        "no loan number": not loan.LoanNr_ChkDgt.isdigit(),
        "approved before 1970": date_ms(approved) < 0,  # Event times count from there; some copies of the file go back further.
        "charged off without a date": loan.MIS_Status == "CHGOFF" and charged_off is None,
        "charged off before it was approved": loan.MIS_Status == "CHGOFF" and charged_off is not None and charged_off <= approved,
    }
    return next((reason for reason, applies in reasons.items() if applies), None)


def _known_at_ms(loan: Loan, approved_ms: int, outcome_days_max: int | None) -> int:
    charged_off = date_of(loan.ChgOffDate) if loan.MIS_Status == "CHGOFF" else None
    if charged_off is not None:
        known_ms = date_ms(charged_off)
    else:
        known_ms = min(approved_ms + round((number_of(loan.Term) or 0) * 365.25 / 12) * DAY_MS, date_ms(LATEST))
    if outcome_days_max is not None:
        known_ms = min(known_ms, approved_ms + outcome_days_max * DAY_MS)
    return max(known_ms, approved_ms + DAY_MS)


def _application(loan: Loan, institution: int, at_ms: int, *, with_term: bool) -> CreditApplication:
    approved, guaranteed = number_of(loan.GrAppv), number_of(loan.SBA_Appv)
    numbers = {
        "amount": number_of(loan.DisbursementGross) or None,  # Nothing disbursed yet: the amount is not known.
        "term_months": (number_of(loan.Term) or None) if with_term else None,
        "employees": number_of(loan.NoEmp),
        "jobs_created": number_of(loan.CreateJob),
        "jobs_retained": number_of(loan.RetainedJob),
        "guaranteed_share": min(guaranteed / approved, 1.0) if approved and guaranteed is not None else None,
    }
    # What the columns' description does not define ("0", "T" for a revolving line) is missing, not a guess.
    yes_no = {"Y": "yes", "N": "no"}
    franchise = number_of(loan.FranchiseCode)
    categories = {
        "sector": loan.NAICS[:2] if len(loan.NAICS) >= 2 and loan.NAICS.isdigit() else None,
        "region": loan.State or None,
        "business_age": {"1": "existing", "2": "new"}.get(loan.NewExist),
        "franchise": None if franchise is None else "no" if franchise in {0, 1} else "yes",
        "location": {"1": "urban", "2": "rural"}.get(loan.UrbanRural),
        "revolving": yes_no.get(loan.RevLineCr),
        "low_doc": yes_no.get(loan.LowDoc),
    }
    return CreditApplication(
        event_id=f"loan-{loan.LoanNr_ChkDgt}",
        customer=customer_id(institution, int(loan.LoanNr_ChkDgt)),
        occurred_at_ms=at_ms,
        consented=True,
        numbers={name: value for name, value in numbers.items() if value is not None and value >= 0},
        categories={name: value for name, value in categories.items() if value is not None},
    )
