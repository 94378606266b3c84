"""Who is whose customer: the partitions that evaluations use, on invented rows and on the real files."""

from __future__ import annotations

import gzip
import os
from collections import Counter
from pathlib import Path

import pytest

from federation.errors import OwnFault
from federation.messages import OutcomeObserved
from riverbank.arrivals import institution_of
from riverbank.datasets import berka, ml100k, sba, taiwan
from riverbank.datasets.selection import FOLDERS
from riverbank.evaluation.sets import SETS

DATA = Path(__file__).parents[2].parent / "shared" / "data"


@pytest.fixture
def data() -> Path:
    """The folder of the real files."""
    if not DATA.is_dir():
        if os.environ.get("CI"):
            pytest.fail(f"the data sets must be at {DATA} in CI")
        pytest.skip(f"the data sets are not at {DATA}")
    return DATA


def _write(path: Path, lines: list[str]) -> Path:
    path.write_bytes(gzip.compress(("\n".join(lines) + "\n").encode()))
    return path.parent


def test_small_lenders_are_one_institution(tmp_path: Path):
    """The two with most rows have one each; whoever else lends shares the last."""
    banks = ["Big"] * 3 + ["Second"] * 2 + ["Third", "Fourth"]
    folder = _write(tmp_path / "SBAnational.csv.gz", ["LoanNr_ChkDgt,Bank", *(f"{number},{bank}" for number, bank in enumerate(banks))])

    assert sba.lenders_and_others(folder, 2) == {"Big": "big", "Second": "second", "Fourth": "other-lenders", "Third": "other-lenders"}


def test_thirds_of_the_limit_by_sex(tmp_path: Path):
    """Six institutions: low, middle and high limits, each of men and of women."""
    rows = [(number, limit, sex) for number, (limit, sex) in enumerate((limit, sex) for limit in (1e4, 5e4, 2e5) for sex in (1, 2))]
    lines = [",".join(taiwan.COLUMNS)]
    for number, limit, sex in rows:
        row = dict.fromkeys(taiwan.COLUMNS, "0") | {"ID": str(number), "LIMIT_BAL": str(limit), "SEX": str(sex)}
        lines.append(",".join(row.values()))
    names = tuple(f"bank-{number}" for number in range(6))
    found = taiwan.arrivals(_write(tmp_path / "UCI_Credit_Card.csv.gz", lines), Counter(), names, split=taiwan.Split.BY_LIMIT_AND_SEX)

    assert [each.institution for each in found if not isinstance(each.message, OutcomeObserved)] == list(names)


def test_films_are_acquired_in_the_order_of_their_ratings(tmp_path: Path):
    """The first sign of the postal code says whose customer somebody is, in Canada its letter; a row without a number is counted."""
    _write(
        tmp_path / "x.inter.gz",
        ["user_id:token\titem_id:token\trating:float\ttimestamp:float", "1\t7\t4\t200", "2\t8\t1\t100", "2\tx\t1\t1"],
    )
    _write(tmp_path / "x.user.gz", ["user_id:token\tzip_code:token", "1\t94043", "2\tV3N4P"])
    _write(tmp_path / "x.item.gz", ["item_id:token\tmovie_title:token_seq\trelease_year:token", "8\tHeat\t1995", "7\tTwelve Monkeys\t1995"])
    refused: Counter[str] = Counter()
    names = tuple(f"bank-{number}" for number in range(10))
    found = [(each.institution, each.message.product, each.at_ms) for each in ml100k.arrivals(tmp_path, refused, names)]

    assert found == [("bank-1", "film-0008", 100_000), ("bank-9", "film-0007", 200_000)]
    assert refused == {"a number unreadable": 1}
    assert [(film.id, film.title) for film in ml100k.products(tmp_path)] == [
        ("film-0007", "Twelve Monkeys (1995)"),
        ("film-0008", "Heat (1995)"),
    ]


@pytest.mark.shared
def test_every_film_rated_is_a_product(data: Path):
    """100,000 ratings by ten institutions' customers, of 1,682 films."""
    folder = data / FOLDERS["ml100k"]
    taken = list(ml100k.arrivals(folder, Counter(), tuple("abcdefghij")))

    assert len(taken) == len({each.message.event_id for each in taken}) == 100_000
    assert {each.message.product for each in taken} == {film.id for film in ml100k.products(folder)}
    assert len({each.institution for each in taken}) == 10


@pytest.mark.shared
@pytest.mark.parametrize("name", [name for name, each in SETS.items() if each.from_files and not name.startswith("handbook")])
def test_a_customer_belongs_to_the_institution_that_his_name_says(data: Path, name: str):
    """All institutions have customers, and an evaluation finds a customer's institution from his identifier."""
    opened = SETS[name].open(data, 1)
    events = [each for each in (*opened.arrivals(Counter()), *opened.asked) if not isinstance(each.message, OutcomeObserved)]

    assert {each.institution for each in events} == set(opened.institutions)
    assert all(opened.institutions[institution_of(each.message.customer)] == each.institution for each in events)


@pytest.mark.shared
def test_every_region_is_its_own(data: Path):
    """Eight regions of districts, eight institutions."""
    found = Counter(each.institution for each in berka.credit_arrivals(data / FOLDERS["berka"], Counter(), berka.EVERY_REGION))

    assert set(found) == set(berka.EVERY_REGION)
    assert found.total() == 2 * 682


def test_too_few_lenders_are_said(tmp_path: Path):
    """Asking for more than the file names is a sentence, not an empty institution."""
    folder = _write(tmp_path / "SBAnational.csv.gz", ["LoanNr_ChkDgt,Bank", "1,Big"])
    with pytest.raises(OwnFault, match="names 1 lenders"):
        sba.lenders_and_others(folder, 2)
