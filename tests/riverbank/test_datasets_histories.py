"""Payments, products and Czech loans are read in time order, and nothing later than an event shows in it.

Rows here are invented, one for each quirk.
Never commits a row of a data set."""

from __future__ import annotations

import gzip
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest

from federation.heads.products import Catalogue
from federation.messages import CardTransaction, CreditApplication, OutcomeObserved, ProductInteraction
from riverbank.arrivals import DAY_MS, INSTITUTIONS, Arrival
from riverbank.datasets import berka, handbook, santander


def _write(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]], separator: str = ",") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [separator.join(header), *(separator.join(str(value) for value in row) for row in rows)]
    path.write_bytes(gzip.compress(("\n".join(lines) + "\n").encode()))
    return path.parent


def _day(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d")


def _events(stream: Iterable[Arrival]) -> list[Arrival]:
    return [arrival for arrival in stream if not isinstance(arrival.message, OutcomeObserved)]


def _outcomes(stream: Iterable[Arrival]) -> dict[str, OutcomeObserved]:
    return {arrival.message.subject: arrival.message for arrival in stream if isinstance(arrival.message, OutcomeObserved)}


def _application(stream: list[Arrival]) -> CreditApplication:
    message = _events(stream)[0].message
    assert isinstance(message, CreditApplication)
    return message


# --- handbook ----------------------------------------------------------------------------------------------------------
_PAYMENT_COLUMNS = (*handbook.COLUMNS, "TX_FRAUD_SCENARIO")


def _payments(tmp_path: Path, rows: Iterable[tuple[str, int, int]], **options: int) -> list[Arrival]:
    table = [(number, moment, customer, terminal, "9.999", number % 2, 3) for number, (moment, customer, terminal) in enumerate(rows)]
    folder = _write(tmp_path / "transactions_1.csv.gz", _PAYMENT_COLUMNS, table)
    return list(handbook.arrivals(folder, Counter(), INSTITUTIONS, **options))


def test_a_payment_and_its_outcome_a_week_later(tmp_path: Path) -> None:
    """Also when it was no fraud; the institution is the customer's number."""
    stream = _payments(tmp_path, [("2018-06-04 00:01:34", 522, 3412), ("2018-06-04 23:59:59", 519, 2622)])
    payment = stream[0].message

    assert isinstance(payment, CardTransaction)
    assert (payment.event_id, payment.customer, payment.terminal) == ("tx-000000000", "c-2-0000000522", "t-00003412")
    assert (payment.amount, payment.occurred_at_ms) == (10.0, 1_528_070_494_000)
    assert {outcome.positive for outcome in _outcomes(stream).values()} == {False, True}
    assert stream[2].at_ms - stream[0].at_ms == 7 * DAY_MS
    assert [arrival.institution for arrival in stream[:2]] == [INSTITUTIONS[2], INSTITUTIONS[4]]


def test_only_the_first_days_when_asked(tmp_path: Path) -> None:
    """The day after the last is not begun."""
    rows = [(f"2018-06-0{day} {hour}:00:00", 1, 1) for day in (4, 5, 6) for hour in ("00", "23")]

    assert len(_events(_payments(tmp_path, rows, days=2))) == 4


def test_a_slice_keeps_whole_customers_who_share_terminals(tmp_path: Path) -> None:
    """Of two towns without a common terminal, one is taken; nobody chosen loses a payment."""
    rows = [
        (f"2018-06-{4 + day:02d} 12:00:00", customer, customer // 10 * 100 + (customer + day) % 7)
        for day in range(10)
        for customer in (*range(10, 20), *range(20, 30))
    ]
    chosen = Counter(arrival.message.customer for arrival in _events(_payments(tmp_path, rows, days=10, payments=100)))  # type: ignore[union-attr]

    assert set(chosen) == {f"c-{number % 5}-{number:010d}" for number in range(10, 20)}
    assert set(chosen.values()) == {10}


def test_rows_that_cannot_be_read_are_counted(tmp_path: Path) -> None:
    """A bad row does not stop the file."""
    rows = [
        ("1", "2018-06-04 00:00:01", "1", "1", "x", "0", ""),
        ("2", "2018-06-04 00:00:02", "1", "1", "-1", "0", ""),
        ("3", "yesterday", "1", "1", "1", "0", ""),
        ("4", "2018-06-04 00:00:04", "1", "1", "1", "0", ""),
    ]
    folder = _write(tmp_path / "transactions_1.csv.gz", _PAYMENT_COLUMNS, rows)
    refused: Counter[str] = Counter()

    assert len(_events(handbook.arrivals(folder, refused, INSTITUTIONS))) == 1
    assert refused == {"amount unreadable": 2, "time or a number unreadable": 1}


# --- Santander ---------------------------------------------------------------------------------------------------------
def _acquired(tmp_path: Path, rows: Iterable[tuple[object, object, object]], seed: int) -> list[tuple[str, str, int]]:
    folder = _write(tmp_path / "interactions.csv.gz", santander.COLUMNS, rows)
    found = []
    for arrival in santander.arrivals(folder, Counter(), INSTITUTIONS, seed=seed):
        assert isinstance(arrival.message, ProductInteraction)
        found.append((arrival.institution, arrival.message.product, arrival.at_ms))
    return found


def test_the_files_order_within_a_month_does_not_matter(tmp_path: Path) -> None:
    """Else the next product could be read off the file; another seed gives another order."""
    codes = [f"ind_{code}_ult1" for code in santander.PRODUCTS]
    rows = [(7, code, 1_422_403_200) for code in codes] + [(8, code, 1_425_081_600) for code in codes[:3]]
    forward = _acquired(tmp_path / "a", rows, seed=1)

    assert forward == _acquired(tmp_path / "b", rows[::-1], seed=1)
    assert forward != _acquired(tmp_path / "c", rows, seed=2)
    assert [product for _, product, _ in forward][: len(codes)] != list(santander.PRODUCTS.values())
    assert [at_ms for *_, at_ms in forward] == sorted(at_ms for *_, at_ms in forward)


def test_every_code_is_in_the_catalogue_and_an_unknown_one_is_counted(tmp_path: Path) -> None:
    """A product that the layout does not know cannot be learned."""
    refused: Counter[str] = Counter()
    folder = _write(tmp_path / "interactions.csv.gz", santander.COLUMNS, [(1, "ind_new_fin_ult1", 5), ("x", "ind_cco_fin_ult1", 5)])

    assert list(santander.arrivals(folder, refused, INSTITUTIONS, seed=1)) == []
    assert refused == {"unknown product": 1, "customer or time unreadable": 1}
    assert set(santander.PRODUCTS.values()) == {product.id for product in Catalogue.shipped().products}


# --- Berka -------------------------------------------------------------------------------------------------------------
def _berka(
    folder: Path, *, loans: Sequence[Sequence[object]], applicants: Sequence[Sequence[object]] = (), older: Sequence[Sequence[object]] = ()
) -> Path:
    movements = ("trans_id", "account_id", "date", "type", "operation", "amount", "balance")
    tables: dict[str, tuple[Sequence[str], Sequence[Sequence[object]]]] = {
        "district.asc": (("A1", "A3", "A11", "A13"), [(1, "Prague", 12541, 0.43), (2, "north Moravia", "?", "?")]),
        "account.asc": (
            ("account_id", "district_id", "frequency", "date"),
            [(1, 1, "POPLATEK MESICNE", 930101), (2, 2, "POPLATEK TYDNE", 930102)],
        ),
        "disp.asc": (
            ("disp_id", "client_id", "account_id", "type"),
            [(10, 100, 1, "OWNER"), (11, 101, 1, "DISPONENT"), (12, 102, 2, "OWNER")],
        ),
        "order.asc": (("order_id", "account_id", "k_symbol"), [(1, 1, "SIPO"), (2, 2, "UVER")]),
        "card.asc": (("card_id", "disp_id", "issued"), [(1, 11, '"931107 00:00:00"'), (2, 10, '"951107 00:00:00"')]),
        "loan.asc": (("loan_id", "account_id", "date", "amount", "duration", "payments", "status"), loans),
        "trans_loan_applicants_1.csv": (movements, applicants),
        "trans_1993-01.asc": (movements, older),
    }
    for name, (header, rows) in tables.items():
        _write(folder / f"{name}.gz", header, rows, ";")
    return folder


_HISTORY = [
    (1, 1, 970101, "credit", "", 3000, 3000),
    (2, 1, 970131, "withdrawal", "", 1000, 2000),
    (3, 1, 970302, "withdrawal in cash", "", 500, 1500),
]


def test_a_loan_knows_the_months_before_it_and_nothing_since(tmp_path: Path) -> None:
    """Movements on the day of the loan and later change nothing."""
    loan = (5, 1, 970402, 12000, 12, "1000.00", "B")
    later = [(4, 1, 970402, "credit", "", 9999, 9999), (5, 1, 970801, "withdrawal", "", 9999, -9999)]
    before = list(berka.credit_arrivals(_berka(tmp_path / "a", loans=[loan], applicants=_HISTORY), Counter(), INSTITUTIONS))
    after = list(berka.credit_arrivals(_berka(tmp_path / "b", loans=[loan], applicants=_HISTORY + later), Counter(), INSTITUTIONS))
    application = _application(before)

    assert before == after
    assert application.customer == "c-0-0000000100"  # The owner's number.
    assert application.numbers["balance_min"] == 1500
    assert application.numbers["balance_mean"] == pytest.approx(6500 / 3)
    assert application.numbers["income_monthly"] == pytest.approx(1000, rel=0.02)
    assert application.numbers["instalment_ratio"] == pytest.approx(1, rel=0.02)
    assert application.numbers["transactions_monthly"] == pytest.approx(1, rel=0.02)
    assert (application.numbers["district_salary"], application.categories["frequency"]) == (12541, "monthly")


def test_the_beginning_of_an_account_is_no_history_of_a_much_later_loan(tmp_path: Path) -> None:
    """The older movements file ends in March 1994; only loans it reaches use it."""
    older = [(1, 2, 930601, "PRIJEM", "", 500, 500)]
    loans = [(5, 2, 940105, 1000, 12, 100, "A"), (6, 2, 950105, 1000, 12, 100, "A")]
    for loan, known in zip(loans, (True, False), strict=True):
        stream = list(berka.credit_arrivals(_berka(tmp_path / str(known), loans=[loan], older=older), Counter(), INSTITUTIONS))

        assert ("balance_mean" in _application(stream).numbers) is known
        assert "district_salary" not in _application(stream).numbers  # "?" is no figure.


def test_a_finished_loan_is_known_at_its_end_and_a_running_one_when_the_file_ends(tmp_path: Path) -> None:
    """B and D are bad; a status or account nobody knows is counted."""
    loans = [(number, 1, 960101, 1000, 12, 100, status) for number, status in enumerate("ABCDX")]
    refused: Counter[str] = Counter()
    outcomes = _outcomes(berka.credit_arrivals(_berka(tmp_path, loans=[*loans, (9, 77, 960101, 1, 1, 1, "A")]), refused, INSTITUTIONS))
    known = {subject[-1]: (outcome.positive, _day(outcome.occurred_at_ms)) for subject, outcome in outcomes.items()}

    assert known == {"0": (False, "1996-12-31"), "1": (True, "1996-12-31"), "2": (False, "1998-12-31"), "3": (True, "1998-12-31")}
    assert refused == {"unknown status or account": 2}


def test_products_come_once_each_at_their_dates(tmp_path: Path) -> None:
    """The first card counts; an order that pays a loan is no product; the institution is the account's region."""
    folder = _berka(tmp_path, loans=[(5, 1, 970402, 12000, 12, 1000, "A"), (6, 9, 970402, 1, 1, 1, "A")])
    refused: Counter[str] = Counter()
    stream = list(berka.product_arrivals(folder, refused, INSTITUTIONS, seed=1))
    taken = {
        (arrival.institution, arrival.message.product): _day(arrival.at_ms)
        for arrival in stream
        if isinstance(arrival.message, ProductInteraction)
    }

    assert taken == {
        ("alder-bank", "current_account"): "1993-01-01", ("alder-bank", "direct_debit"): "1993-01-01",
        ("alder-bank", "credit_card"): "1993-11-07", ("alder-bank", "personal_loan"): "1997-04-02",
        ("estuary-trust", "current_account"): "1993-01-02",
    }  # fmt: skip
    assert len(stream) == len(taken)
    assert refused == {"date unreadable or account unknown": 1}
