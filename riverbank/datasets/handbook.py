"""Simulated card payments of the handbook "Reproducible Machine Learning for Credit Card Fraud Detection": 12 weeks, labelled.

Called by `selection`. Source: Le Borgne, Siblini, Lebichot and Bontempi, Université Libre de Bruxelles, 2022, chapter 3.
Never uses the fraud's scenario, and never gives a label before the seven days an investigation takes."""

from __future__ import annotations

import datetime as dt
from collections import Counter, defaultdict
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Final

from federation.messages import CardTransaction, OutcomeObserved
from riverbank.arrivals import DAY_MS, Arrival, customer_id, outcome_of, with_outcomes
from riverbank.datasets.files import date_ms, find_file, number_of, read_rows

FILE: Final = "transactions_*.csv"
OUTCOME_DAYS: Final = 7  # Every payment's outcome, fraud or not; the handbook's delay.
COLUMNS: Final = ("TRANSACTION_ID", "TX_DATETIME", "CUSTOMER_ID", "TERMINAL_ID", "TX_AMOUNT", "TX_FRAUD")
SURVEY_DAYS: Final = 7


def arrivals(
    folder: Path, refused: Counter[str], institutions: tuple[str, ...], *, days: int | None = None, payments: int | None = None
) -> Iterator[Arrival]:
    """Payments and their outcomes seven days later; institution: customer number modulo their number.

    `days`: only the first days of the file. `payments`: only so many customers, all of whose payments are kept, that
    about this many payments remain within `days` (see `neighbourhood`). None: no bound.
    """
    path = find_file(folder, FILE)
    chosen = None if payments is None else _chosen(path, days, payments)
    return with_outcomes(_labelled(path, refused, institutions, days, chosen))


@lru_cache(maxsize=4)  # A stream is counted before it is played.
def _chosen(path: Path, days: int | None, payments: int) -> frozenset[str]:
    shown = days or _days_in(path)
    return neighbourhood(_visits(path), round(payments * min(SURVEY_DAYS, shown) / shown))


def neighbourhood(visits: dict[str, Counter[str]], payments: int) -> frozenset[str]:
    """Customers who pay at the same terminals and together make at least `payments` payments, or all of them.

    `visits`: customer -> terminal -> payments there. A random choice of customers would leave each terminal a fraction of its
    payments, and its record is the strongest sign of fraud. So the choice grows from the first customer: again and again the third
    that does most of its paying where the chosen already pay.
    """
    totals = {customer: terminals.total() for customer, terminals in visits.items()}
    chosen: dict[str, None] = {}
    known: set[str] = set()
    found = 0
    ranked = sorted(visits)[:1]
    while ranked and found < payments:
        for customer in ranked[: max(5, len(chosen) // 2)]:
            chosen[customer] = None
            known.update(visits[customer])
            found += totals[customer]
            if found >= payments:
                break
        ranked = sorted(visits.keys() - chosen.keys(), key=lambda customer: (-_share(visits[customer], known), customer))
    return frozenset(chosen)


def _share(terminals: Counter[str], known: set[str]) -> float:
    return sum(count for terminal, count in terminals.items() if terminal in known) / terminals.total()


def _visits(path: Path) -> dict[str, Counter[str]]:
    """Who paid where, in the first SURVEY_DAYS days of the file."""
    visits: defaultdict[str, Counter[str]] = defaultdict(Counter)
    days: set[str] = set()
    for moment, customer, terminal in read_rows(path, ("TX_DATETIME", "CUSTOMER_ID", "TERMINAL_ID")):
        days.add(moment[:10])
        if len(days) > SURVEY_DAYS:
            break
        visits[customer][terminal] += 1
    return visits


def _days_in(path: Path) -> int:
    return len({moment[:10] for moment, _ in read_rows(path, ("TX_DATETIME", "TX_FRAUD"))})


def _labelled(
    path: Path, refused: Counter[str], institutions: tuple[str, ...], days: int | None, chosen: frozenset[str] | None
) -> Iterator[tuple[Arrival, OutcomeObserved]]:
    end_ms: int | None = None
    for row in read_rows(path, COLUMNS):
        number, moment, customer, terminal, amount_text, fraud = row
        if chosen is not None and customer not in chosen:
            continue
        amount = number_of(amount_text)
        at_ms = _moment_ms(moment)
        if at_ms is None or not (number.isdigit() and customer.isdigit() and terminal.isdigit()):
            refused["time or a number unreadable"] += 1
            continue
        if amount is None or amount < 0:
            refused["amount unreadable"] += 1
            continue
        end_ms = end_ms or at_ms - at_ms % DAY_MS + (days or 10_000) * DAY_MS
        if at_ms >= end_ms:
            return
        institution = int(customer) % len(institutions)
        payment = CardTransaction(
            event_id=f"tx-{int(number):09d}",
            customer=customer_id(institution, int(customer)),
            occurred_at_ms=at_ms,
            consented=True,
            terminal=f"t-{int(terminal):08d}",
            amount=round(amount, 2),
        )
        outcome = outcome_of(payment, positive=fraud == "1", known_at_ms=at_ms + OUTCOME_DAYS * DAY_MS)
        yield Arrival(institutions[institution], payment), outcome


def _moment_ms(text: str) -> int | None:
    """Milliseconds since 1970 of "2018-06-04 00:01:34" (UTC); None if it is not spelt so."""
    try:
        hours, minutes, seconds = text[11:].split(":")
        return _midnight_ms(text[:10]) + (int(hours) * 3600 + int(minutes) * 60 + int(seconds)) * 1000
    except ValueError:
        return None


@lru_cache(maxsize=16)
def _midnight_ms(date: str) -> int:
    return date_ms(dt.date.fromisoformat(date))
