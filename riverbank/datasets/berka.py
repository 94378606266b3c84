"""A Czech bank of the nineties, the "Berka" data: loans for the credit head, and a history of products.

Called by `selection`. Source: Berka and Sochorova, Discovery Challenge of PKDD'99.
Never looks at an account's movements on or after the day of its loan."""

from __future__ import annotations

import datetime as dt
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Final

from federation.messages import CreditApplication, InteractionKind, OutcomeObserved, ProductInteraction
from riverbank.arrivals import DAY_MS, Arrival, customer_id, outcome_of, with_outcomes
from riverbank.datasets.files import date_ms, find_file, number_of, read_rows

END: Final = dt.date(1998, 12, 31)
"""The file's last day: a contract still running then is labelled as it stands."""
FULL_HISTORY_BEFORE: Final = dt.date(1994, 4, 1)
"""The older movements file ends here; for a later loan it knows only the beginning of the account, which would mislead."""

REGIONS: Final = {
    "Prague": 0, "north Bohemia": 0, "central Bohemia": 1, "west Bohemia": 1, "east Bohemia": 2, "south Bohemia": 2,
    "south Moravia": 3, "north Moravia": 4,
}  # fmt: skip
"""Region of the account's district -> institution, by index modulo their number: five of 117 to 147 loans each."""
EVERY_REGION: Final = tuple(region.lower().replace(" ", "-") for region in REGIONS)
"""The names of eight institutions, one a region: with these, each region is its own."""

_FREQUENCY: Final = {"POPLATEK MESICNE": "monthly", "POPLATEK TYDNE": "weekly", "POPLATEK PO OBRATU": "after_transaction"}
_BAD: Final = {"A": False, "C": False, "B": True, "D": True}
_CREDITS: Final = {"PRIJEM", "credit"}
_MONTH_DAYS: Final = 365.25 / 12


@dataclass(slots=True)
class _Account:
    """An account, its district's figures, and its owner."""

    region: str
    salary: float | None
    unemployment: float | None
    frequency: str
    opened: dt.date
    owner: int


@dataclass(slots=True)
class _History:
    """Movements of one account before a day: (day, amount signed, balance), each once."""

    movements: dict[str, tuple[dt.date, float, float]] = field(default_factory=dict)

    def features(self, loan_day: dt.date, instalment: float) -> dict[str, float]:
        """What the months before `loan_day` say; empty without movements."""
        before = [movement for movement in self.movements.values() if movement[0] < loan_day]
        if not before:
            return {}
        months = max((loan_day - min(day for day, _, _ in before)).days / _MONTH_DAYS, 1.0)
        balances = [balance for _, _, balance in before]
        income = sum(amount for _, amount, _ in before if amount > 0) / months
        found = {
            "balance_mean": sum(balances) / len(balances),
            "balance_min": min(balances),
            "income_monthly": income,
            "transactions_monthly": len(before) / months,
        }
        return found | ({"instalment_ratio": instalment / income} if income > 0 else {})


def credit_arrivals(folder: Path, refused: Counter[str], institutions: tuple[str, ...]) -> Iterator[Arrival]:
    """Loans at their date and their outcomes: a finished one at its end, a running one on the file's last day."""
    return with_outcomes(_loans(folder, refused, institutions))


def product_arrivals(folder: Path, refused: Counter[str], institutions: tuple[str, ...], *, seed: int) -> Iterator[Arrival]:
    """Accounts, cards and loans at their dates, standing orders (which have none) on the day their account was opened.

    Acquisitions of one customer on one day come in an order drawn from `seed`.
    """
    accounts = _accounts(folder)
    once: dict[tuple[str, str], dt.date] = {}
    for number, product, day in _taken(folder, accounts):
        if number not in accounts or day is None:
            refused["date unreadable or account unknown"] += 1
        else:
            once[number, product] = min(day, once.get((number, product), day))  # A second card changes nothing.
    drawn = {taken: blake2b("\n".join((str(seed), *taken)).encode()).digest() for taken in once}
    for (number, product), day in sorted(once.items(), key=lambda item: (item[1], drawn[item[0]])):
        institution = _institution_of(accounts[number].region, institutions)
        acquired = ProductInteraction(
            event_id=f"take-{int(number):08d}-{product}",
            customer=customer_id(institution, accounts[number].owner),
            occurred_at_ms=date_ms(day),
            consented=True,
            product=product,
            kind=InteractionKind.ACQUIRED,
            segment=None,
        )
        yield Arrival(institutions[institution], acquired)


def _institution_of(region: str, institutions: tuple[str, ...]) -> int:
    return list(REGIONS).index(region) if institutions == EVERY_REGION else REGIONS[region] % len(institutions)


def _taken(folder: Path, accounts: dict[str, _Account]) -> Iterator[tuple[str, str, dt.date | None]]:
    """(account, product, day), in no particular order, repetitions included."""
    for number, account in accounts.items():
        yield number, "current_account", account.opened
    for number, symbol in _table(folder, "order.asc", "account_id", "k_symbol"):
        if symbol != "UVER":  # That one pays the loan back.
            yield number, "direct_debit", accounts[number].opened if number in accounts else None
    for number, date in _table(folder, "loan.asc", "account_id", "date"):
        yield number, "personal_loan", _date_of(date)
    holders = {row[0]: row[1] for row in _table(folder, "disp.asc", "disp_id", "account_id")}
    for holder, date in _table(folder, "card.asc", "disp_id", "issued"):
        yield holders.get(holder, ""), "credit_card", _date_of(date)


def _loans(folder: Path, refused: Counter[str], institutions: tuple[str, ...]) -> Iterator[tuple[Arrival, OutcomeObserved]]:
    accounts = _accounts(folder)
    contracts = []
    for date, loan, number, *figures, status in _table(
        folder, "loan.asc", "date", "loan_id", "account_id", "amount", "duration", "payments", "status"
    ):
        day, (amount, months, instalment) = _date_of(date), map(number_of, figures)
        if status not in _BAD or number not in accounts:
            refused["unknown status or account"] += 1
        elif day is None or amount is None or months is None or instalment is None or not loan.isdigit():
            refused["date or a number unreadable"] += 1
        else:
            contracts.append((day, int(loan), number, amount, months, instalment, status))
    histories = _histories(folder, {contract[2]: contract[0] for contract in contracts})
    for day, loan_number, number, amount, months, instalment, status in sorted(contracts):
        account = accounts[number]
        institution = _institution_of(account.region, institutions)
        numbers = {
            "amount": amount,
            "term_months": months,
            "district_salary": account.salary,
            "district_unemployment": account.unemployment,
            **histories[number].features(day, instalment),
        }
        application = CreditApplication(
            event_id=f"loan-{loan_number:08d}",
            customer=customer_id(institution, account.owner),
            occurred_at_ms=date_ms(day),
            consented=True,
            numbers={name: value for name, value in numbers.items() if value is not None},
            categories={"region": account.region, "frequency": account.frequency},
        )
        end = day + dt.timedelta(days=round(months * _MONTH_DAYS))
        known = min(end, END) if status in "AB" else END
        outcome = outcome_of(application, positive=_BAD[status], known_at_ms=max(date_ms(known), date_ms(day) + DAY_MS))
        yield Arrival(institutions[institution], application), outcome


def _accounts(folder: Path) -> dict[str, _Account]:
    """Accounts by number, with district and owner; those whose district or opening day is unknown are left out."""
    districts = {
        number: (region, number_of(salary), number_of(jobless))
        for number, region, salary, jobless in _table(folder, "district.asc", "A1", "A3", "A11", "A13")
    }
    owners = {number: client for number, client, kind in _table(folder, "disp.asc", "account_id", "client_id", "type") if kind == "OWNER"}
    accounts = {}
    for number, district, frequency, date in _table(folder, "account.asc", "account_id", "district_id", "frequency", "date"):
        opened, owner = _date_of(date), owners.get(number, "")
        if opened is not None and owner.isdigit() and number.isdigit() and districts.get(district, ("",))[0] in REGIONS:
            accounts[number] = _Account(*districts[district], _FREQUENCY.get(frequency, "other"), opened, int(owner))
    return accounts


def _histories(folder: Path, loan_days: dict[str, dt.date]) -> defaultdict[str, _History]:
    """Complete histories only: of every account in the applicants' file, of the others where the older file reaches the loan."""
    histories: defaultdict[str, _History] = defaultdict(_History)
    for pattern, before in (("trans_loan_applicants*.csv", END), ("trans_1993*.asc", FULL_HISTORY_BEFORE)):
        for movement, number, date, kind, *figures in _table(
            folder, pattern, "trans_id", "account_id", "date", "type", "amount", "balance"
        ):
            if number in loan_days and loan_days[number] <= before:
                day, (amount, balance) = _date_of(date), map(number_of, figures)
                if day is not None and amount is not None and balance is not None:
                    histories[number].movements[movement] = (day, amount if kind in _CREDITS else -amount, balance)
    return histories


def _table(folder: Path, pattern: str, *columns: str) -> Iterator[tuple[str, ...]]:
    return read_rows(find_file(folder, pattern), columns, separator=";")


def _date_of(text: str) -> dt.date | None:
    """YYMMDD, with a time of day or without; all years are 19YY. None if it is no date."""
    try:
        return dt.date(1900 + int(text[:2]), int(text[2:4]), int(text[4:6]))
    except ValueError:
        return None
