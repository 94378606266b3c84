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
from federation.messages import CreditApplication, HeadName, InteractionKind, OutcomeObserved, ProductInteraction
from riverbank.arrivals import DAY_MS, INSTITUTIONS, Arrival
from riverbank.datasets import sba, taiwan
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
