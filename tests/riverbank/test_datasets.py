"""Adapters read what the files say, refuse what they cannot read, and never give away an outcome.

Rows here are invented, one for each quirk; tests marked `shared` read the real files beside the checkout.
Never commits a row of a data set."""

from __future__ import annotations

import gzip
import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest

from federation.errors import OwnFault
from federation.heads.credit import CreditEncoder
from federation.heads.products import Catalogue
from federation.messages import CardTransaction, CreditApplication, HeadName, InteractionKind, OutcomeObserved, ProductInteraction
from riverbank.arrivals import DAY_MS, INSTITUTIONS, Arrival
from riverbank.datasets import berka, handbook, santander, sba, taiwan
from riverbank.datasets.files import find_file, number_of, read_rows
from riverbank.datasets.selection import FOLDERS, Credit, Products, Selection

DATA = Path(__file__).parents[2].parent / "shared" / "data"


@pytest.fixture
def data() -> Path:
    """The folder of the real files."""
    if not DATA.is_dir():
        if os.environ.get("CI"):
            pytest.fail(f"the data sets must be at {DATA} in CI")
        pytest.skip(f"the data sets are not at {DATA}")
    return DATA


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


# --- files -------------------------------------------------------------------------------------------------------------
def test_a_missing_folder_or_file_is_a_sentence_that_names_it(tmp_path: Path) -> None:
    """Whoever mistypes --data reads where it looked and what to do."""
    with pytest.raises(OwnFault, match=rf"no folder {tmp_path / 'nowhere'}.*--data"):
        find_file(tmp_path / "nowhere", "a*.csv")
    with pytest.raises(OwnFault, match=rf"{tmp_path} holds no a\*\.csv.*copy"):
        find_file(tmp_path, "a*.csv")


def test_a_file_without_a_needed_column_is_not_the_file(tmp_path: Path) -> None:
    """The sentence names the column."""
    _write(tmp_path / "a.csv.gz", ("x", "y"), [(1, 2)])
    with pytest.raises(OwnFault, match="no column z"):
        list(read_rows(tmp_path / "a.csv.gz", ("x", "z")))


def test_a_file_cut_short_is_a_sentence(tmp_path: Path) -> None:
    """Half a download is not silently half a data set."""
    whole = gzip.compress(b"x,y\n" + os.urandom(4000).hex().encode() + b",1\n" * 100)
    (tmp_path / "a.csv.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(OwnFault, match="copy the file again"):
        list(read_rows(tmp_path / "a.csv.gz", ("x", "y")))


def test_plain_and_gzipped_files_read_the_same_and_short_rows_are_empty(tmp_path: Path) -> None:
    """Columns are found by name wherever they stand."""
    (tmp_path / "a.csv").write_text("x,y,z\n1,2,3\n4\n")
    _write(tmp_path / "b.csv.gz", ("x", "y", "z"), [(1, 2, 3), (4,)])

    for name in ("a.csv", "b.csv.gz"):
        assert list(read_rows(tmp_path / name, ("z", "x"))) == [("3", "1"), ("", "")]


@pytest.mark.parametrize(
    ("text", "number"), [("$60,000.00 ", 60000.0), ("-2", -2.0), ("", None), ("nan", None), ("inf", None), ("x", None)]
)
def test_numbers_are_finite_and_may_be_money(text: str, number: float | None) -> None:
    """What is no number is None, never a guess."""
    assert number_of(text) == number


# --- SBA ---------------------------------------------------------------------------------------------------------------
_LOAN = {
    "LoanNr_ChkDgt": "1000000001", "Name": "SHOP", "State": "OH", "Bank": "NORTH BANK, NATIONAL ASSOCIATION", "NAICS": "451120",
    "ApprovalDate": "2/28/1997", "Term": "84", "NoEmp": "4", "NewExist": "2", "CreateJob": "0", "RetainedJob": "1",
    "FranchiseCode": "1", "UrbanRural": "1", "RevLineCr": "Y", "LowDoc": "N", "ChgOffDate": "", "DisbursementGross": "60000",
    "MIS_Status": "P I F", "ChgOffPrinGr": "0", "GrAppv": "60000", "SBA_Appv": "48000",
}  # fmt: skip


def _sba(tmp_path: Path, *changes: dict[str, str], institutions: int = 1, **options: object) -> tuple[list[Arrival], Counter[str]]:
    rows = [_LOAN | {"LoanNr_ChkDgt": str(1_000_000_001 + number)} | change for number, change in enumerate(changes)]
    folder = _write(tmp_path / "SBAnational_1.csv.gz", tuple(_LOAN), [[f'"{value}"' for value in row.values()] for row in rows])
    refused: Counter[str] = Counter()
    return list(sba.arrivals(folder, refused, sba.lenders(folder, institutions), **options)), refused  # type: ignore[arg-type]


def _application(stream: list[Arrival]) -> CreditApplication:
    message = _events(stream)[0].message
    assert isinstance(message, CreditApplication)
    return message


def test_a_plain_loan_becomes_every_feature(tmp_path: Path) -> None:
    """All canonical names, no more."""
    stream, refused = _sba(tmp_path, {})
    loan = _application(stream)

    assert not refused
    assert loan.numbers == {
        "amount": 60000, "term_months": 84, "employees": 4, "jobs_created": 0, "jobs_retained": 1, "guaranteed_share": 0.8,
    }  # fmt: skip
    assert loan.categories == {
        "sector": "45", "region": "OH", "business_age": "new", "franchise": "no", "location": "urban", "revolving": "yes", "low_doc": "no",
    }  # fmt: skip
    assert _day(loan.occurred_at_ms) == "1997-02-28"
    assert stream[0].institution == "north-bank"


def test_what_the_columns_do_not_define_is_missing(tmp_path: Path) -> None:
    """No feature is better than a guessed one."""
    odd = {
        "RevLineCr": "T",
        "LowDoc": "C",
        "NewExist": "0",
        "UrbanRural": "0",
        "NAICS": "0",
        "Term": "0",
        "GrAppv": "0",
        "DisbursementGross": "0",
    }
    loan = _application(_sba(tmp_path, odd)[0])

    assert loan.numbers.keys() == {"employees", "jobs_created", "jobs_retained"}
    assert loan.categories == {"region": "OH", "franchise": "no"}


def test_money_and_both_spellings_of_dates_are_read(tmp_path: Path) -> None:
    """Other copies of the file write dollars and two-digit years."""
    loan = _application(_sba(tmp_path, {"DisbursementGross": "$60,000.00 ", "ApprovalDate": "1-Jan-71"})[0])

    assert loan.numbers["amount"] == 60000
    assert _day(loan.occurred_at_ms) == "1971-01-01"


@pytest.mark.parametrize(
    ("text", "day"),
    [("12/31/2004", "2004-12-31"), ("7-Aug-14", "2014-08-07"), ("15-JUN-89", "1989-06-15"), ("2/30/2004", "None"), ("", "None")],
)
def test_two_digit_years_end_with_the_file(text: str, day: str) -> None:
    """71 is 1971 and 14 is 2014; no date is no date."""
    assert str(sba.date_of(text)) == day


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"MIS_Status": ""}, "no loan status"),
        ({"MIS_Status": "?"}, "unknown loan status"),
        ({"LoanNr_ChkDgt": "x"}, "no loan number"),
        ({"ApprovalDate": "soon"}, "approval date unreadable"),
        ({"ApprovalDate": "1-Jan-69"}, "approved before 1970"),
        ({"MIS_Status": "CHGOFF"}, "charged off without a date"),
        ({"MIS_Status": "CHGOFF", "ChgOffDate": "28-Feb-97"}, "charged off before it was approved"),
    ],
)
def test_a_row_that_cannot_be_used_is_counted_by_reason(tmp_path: Path, change: dict[str, str], reason: str) -> None:
    """The other rows are read."""
    stream, refused = _sba(tmp_path, change, {})

    assert refused == {reason: 1}
    assert len(_events(stream)) == 1


def test_a_default_is_known_at_its_charge_off_and_a_repayment_at_its_term(tmp_path: Path) -> None:
    """Both years later; a term beyond the file's end is known at its end; a term of nothing a day later."""
    stream, _ = _sba(
        tmp_path,
        {"MIS_Status": "CHGOFF", "ChgOffDate": "3-May-99"},
        {"Term": "12"},
        {"Term": "300"},
        {"Term": "0"},
        {"ChgOffDate": "3-May-99", "Term": "12"},  # Paid after all.
    )
    known = {subject[-1]: (outcome.positive, _day(outcome.occurred_at_ms)) for subject, outcome in _outcomes(stream).items()}

    assert known == {
        "1": (True, "1999-05-03"), "2": (False, "1998-02-28"), "3": (False, "2014-12-31"), "4": (False, "1997-03-01"), "5": (False, "1998-02-28"),
    }  # fmt: skip


def test_an_outcome_may_be_brought_forward_but_never_to_its_application(tmp_path: Path) -> None:
    """outcome_days_max bounds the wait, for good and bad loans alike."""
    for days, expected_days in ((30, 30), (0, 1)):
        stream, _ = _sba(tmp_path, {"MIS_Status": "CHGOFF", "ChgOffDate": "3-May-99"}, {}, outcome_days_max=days)
        applied = {arrival.message.event_id: arrival.at_ms for arrival in _events(stream)}

        assert {outcome.occurred_at_ms - applied[subject] for subject, outcome in _outcomes(stream).items()} == {expected_days * DAY_MS}


def test_a_charge_off_never_shows_in_an_application(tmp_path: Path) -> None:
    """Two loans that differ in their outcome only make the same application."""
    good = _application(_sba(tmp_path / "good", {})[0])
    bad = _application(_sba(tmp_path / "bad", {"MIS_Status": "CHGOFF", "ChgOffDate": "3-May-99", "ChgOffPrinGr": "20000"})[0])

    assert good == bad


def test_the_term_can_be_left_out(tmp_path: Path) -> None:
    """It is partly an outcome: who wants to know the score without it can."""
    assert "term_months" not in _application(_sba(tmp_path, {}, with_term=False)[0]).numbers


def test_the_largest_lenders_are_the_institutions_and_namesakes_stay_apart(tmp_path: Path) -> None:
    """Two banks whose names make one slug get a number; smaller lenders are left out."""
    banks = ["BIG BANK NATL ASSOC"] * 3 + ["BIG BANK, NATIONAL ASSOCIATION"] * 2 + ["SMALL & CO."]
    stream, refused = _sba(tmp_path, *({"Bank": bank} for bank in banks), institutions=2)

    assert Counter(arrival.institution for arrival in _events(stream)) == {"big-bank": 3, "big-bank-2": 2}
    assert not refused
    with pytest.raises(OwnFault, match="names 3 lenders, and 4"):
        sba.lenders(tmp_path, 4)


# --- Taiwan ------------------------------------------------------------------------------------------------------------
def test_a_card_customer_becomes_an_application_and_its_label_comes_a_month_later(tmp_path: Path) -> None:
    """Codes without a meaning are missing; money at the bank is no debt; nothing billed, no ratio."""
    row = dict.fromkeys(taiwan.COLUMNS, "0") | {
        "ID": "12", "LIMIT_BAL": "1e+05", "SEX": "2", "EDUCATION": "5", "MARRIAGE": "1", "AGE": "30", "PAY_0": "-1", "PAY_2": "2",
        "BILL_AMT1": "50000", "PAY_AMT1": "1000", "BILL_AMT2": "-20", "PAY_AMT2": "5", "default.payment.next.month": "1",
    }  # fmt: skip
    unlabelled = row | {"ID": "13", "default.payment.next.month": ""}
    folder = _write(tmp_path / "UCI_Credit_Card.csv.gz", taiwan.COLUMNS, [list(unlabelled.values()), list(row.values())])
    refused: Counter[str] = Counter()
    event, outcome = list(taiwan.arrivals(folder, refused, INSTITUTIONS))
    application = event.message

    assert isinstance(application, CreditApplication)
    assert refused == {"no label": 1}
    assert event.institution == INSTITUTIONS[12 % 5]
    assert event.at_ms == taiwan.START_MS + taiwan.STEP_MS  # The second row's place, refused rows counted.
    assert outcome.at_ms - event.at_ms == 30 * DAY_MS
    assert application.categories == {"sex": "female", "marriage": "married"}
    assert (application.numbers["credit_limit"], application.numbers["utilisation_1"], application.numbers["utilisation_2"]) == (
        1e5,
        0.5,
        0,
    )
    assert (application.numbers["payment_status_1"], application.numbers["payment_status_2"]) == (-1, 2)
    assert application.numbers["paid_ratio_1"] == 0.02
    assert "paid_ratio_2" not in application.numbers


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


# --- the real files ----------------------------------------------------------------------------------------------------
_NAME = re.compile(r"[a-z][a-z0-9-]{0,63}")

_EXPECTED = {
    (Credit.SBA, HeadName.CREDIT): (24_686, 3_345),
    (Credit.TAIWAN, HeadName.CREDIT): (60_000, 6_636),
    (Credit.BERKA, HeadName.CREDIT): (1_364, 76),
    (Products.SANTANDER, HeadName.PRODUCTS): (32_954, 0),
    (Products.BERKA, HeadName.PRODUCTS): (9_571, 0),
    ("handbook", HeadName.FRAUD): (120_470, 520),
}


@pytest.mark.shared
@pytest.mark.parametrize(("source", "head"), _EXPECTED)
def test_the_real_files_are_read_whole_and_every_event_can_be_learned(data: Path, source: str, head: HeadName) -> None:
    """Counts as documented; time never goes back; ids are unique; encoders accept every value; names are topic names."""
    selection = Selection(
        folder=data,
        credit=Credit(source) if head is HeadName.CREDIT else Credit.TAIWAN,
        products=Products(source) if head is HeadName.PRODUCTS else Products.SANTANDER,
    )
    names, credit, catalogue = selection.names(), CreditEncoder.shipped(), Catalogue.shipped()
    ids, rows, positives, last_ms, seen = set(), 0, 0, 0, set()
    for arrival in selection.sources()[head](Counter()):
        message = arrival.message
        assert arrival.at_ms >= last_ms
        last_ms, rows = arrival.at_ms, rows + 1
        ids.add(message.event_id)
        seen.add(arrival.institution)
        if isinstance(message, CreditApplication):
            credit.encode(message)
        elif isinstance(message, ProductInteraction):
            catalogue.encode((), message.product)
            assert message.kind is InteractionKind.ACQUIRED
        elif isinstance(message, OutcomeObserved):
            positives += message.positive

    assert (rows, positives) == _EXPECTED[source, head]
    assert len(ids) == rows
    assert seen == set(names)
    assert all(_NAME.fullmatch(name) for name in names)


@pytest.mark.shared
def test_the_lenders_have_the_names_people_know(data: Path) -> None:
    """Largest first; other heads use the same names by index."""
    names = Selection(folder=data).names()

    assert names == ("bank-of-america", "capital-one", "wells-fargo-bank", "pnc-bank", "citizens-bank")
    first = next(iter(Selection(folder=data).sources()[HeadName.PRODUCTS](Counter())))
    assert first.institution in names


def test_a_selection_without_its_folder_says_which(tmp_path: Path) -> None:
    """Names need the lenders' file; the other heads say so when they are asked for."""
    with pytest.raises(OwnFault, match=f"{tmp_path / FOLDERS['sba']}"):
        Selection(folder=tmp_path).names()
    selection = Selection(folder=tmp_path, credit=Credit.BERKA)
    assert selection.names() == INSTITUTIONS
    for head, folder in ((HeadName.CREDIT, "berka"), (HeadName.FRAUD, "handbook"), (HeadName.PRODUCTS, "santander")):
        with pytest.raises(OwnFault, match=f"{tmp_path / FOLDERS[folder]}"):
            list(selection.sources()[head](Counter()))
