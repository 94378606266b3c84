"""Credit card customers of a bank in Taiwan in 2005, with six months of bills and payments each.

Called by `selection`. Source: Yeh and Lien, Expert Systems with Applications 36(2), 2009; UCI "default of credit card clients".
Never orders rows by anything they hold: the file has no dates, so the time of an application is its place in the file."""

from __future__ import annotations

import datetime as dt
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Final

from federation.messages import CreditApplication, OutcomeObserved
from riverbank.arrivals import DAY_MS, Arrival, customer_id, outcome_of, with_outcomes
from riverbank.datasets.files import date_ms, find_file, number_of, read_rows

FILE: Final = "UCI_Credit_Card*.csv"
START_MS: Final = date_ms(dt.date(2005, 10, 1))  # The history ends in September 2005.
STEP_MS: Final = 1_051_200  # 30,000 rows over 365 days.
OUTCOME_DAYS: Final = 30  # The label is next month's payment.

_MONTHS: Final = range(1, 7)  # 1 is the latest month.
_STATUS: Final = {month: f"PAY_{0 if month == 1 else month}" for month in _MONTHS}  # The file has no PAY_1.
COLUMNS: Final = (
    "ID", "default.payment.next.month", "LIMIT_BAL", "SEX", "EDUCATION", "MARRIAGE", "AGE",
    *_STATUS.values(), *(f"BILL_AMT{month}" for month in _MONTHS), *(f"PAY_AMT{month}" for month in _MONTHS),
)  # fmt: skip

_CHOICES: Final = {
    "SEX": ("sex", {"1": "male", "2": "female"}),
    "EDUCATION": ("education", {"1": "graduate_school", "2": "university", "3": "high_school", "4": "other"}),
    "MARRIAGE": ("marriage", {"1": "married", "2": "single", "3": "other"}),
}


class Split(StrEnum):
    """Which customer is whose."""

    BY_NUMBER = "by number"  # ID modulo the number of institutions: alike, but for chance.
    BY_LIMIT_AND_SEX = "by limit and sex"  # Thirds of the credit limit, each by sex: six institutions that differ.


def arrivals(folder: Path, refused: Counter[str], institutions: tuple[str, ...], *, split: Split = Split.BY_NUMBER) -> Iterator[Arrival]:
    """An application per row, evenly spaced in the file's order, and its outcome 30 days later."""
    return with_outcomes(_labelled(folder, refused, institutions, split))


def _labelled(
    folder: Path, refused: Counter[str], institutions: tuple[str, ...], split: Split
) -> Iterator[tuple[Arrival, OutcomeObserved]]:
    thirds = _thirds(folder) if split is Split.BY_LIMIT_AND_SEX else ()
    for place, row in enumerate(read_rows(find_file(folder, FILE), COLUMNS)):
        values = dict(zip(COLUMNS, row, strict=True))
        label = values["default.payment.next.month"]
        if label not in {"0", "1"}:
            refused["no label"] += 1
        elif not values["ID"].isdigit():
            refused["no customer number"] += 1
        else:
            number = int(values["ID"])
            place_of = 2 * bisect_left(thirds, number_of(values["LIMIT_BAL"]) or 0.0) + (values["SEX"] == "2") if thirds else number
            institution = place_of % len(institutions)
            at_ms = START_MS + place * STEP_MS
            application = CreditApplication(
                event_id=f"card-{number:07d}",
                customer=customer_id(institution, number),
                occurred_at_ms=at_ms,
                consented=True,
                numbers=_numbers(values),
                categories={name: known[values[column]] for column, (name, known) in _CHOICES.items() if values[column] in known},
            )
            outcome = outcome_of(application, positive=label == "1", known_at_ms=at_ms + OUTCOME_DAYS * DAY_MS)
            yield Arrival(institutions[institution], application), outcome


def _thirds(folder: Path) -> tuple[float, float]:
    """The credit limits that a third, and two thirds, of the customers do not exceed."""
    limits = sorted(number_of(text) or 0.0 for text, _ in read_rows(find_file(folder, FILE), ("LIMIT_BAL", "SEX")))
    return limits[(len(limits) - 1) // 3], limits[2 * (len(limits) - 1) // 3]


def _numbers(values: dict[str, str]) -> dict[str, float]:
    limit = number_of(values["LIMIT_BAL"])
    numbers = {"credit_limit": limit, "age": number_of(values["AGE"])}
    for month in _MONTHS:
        bill, paid = number_of(values[f"BILL_AMT{month}"]), number_of(values[f"PAY_AMT{month}"])
        # A bill below zero is money of the customer's at the bank: nothing is used.
        numbers[f"utilisation_{month}"] = max(bill, 0.0) / limit if limit and bill is not None else None
        numbers[f"paid_ratio_{month}"] = paid / bill if paid is not None and bill is not None and bill > 0 else None
        numbers[f"payment_status_{month}"] = number_of(values[_STATUS[month]])
    return {name: value for name, value in numbers.items() if value is not None}
