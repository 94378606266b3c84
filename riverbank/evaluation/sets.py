"""The data sets an evaluation knows by name: who the institutions are, when labels come, how rounds are held.

Read by `course` and `command`; partitions as in docs/evaluation.md.
Never opens a file before its arrivals or its institutions' names are asked for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, TypeAlias

from federation.errors import OwnFault
from federation.messages import HeadName
from riverbank.arrivals import INSTITUTIONS, Arrival
from riverbank.datasets import berka, handbook, santander, sba, taiwan
from riverbank.datasets.selection import FOLDERS
from riverbank.evaluation.held_out import Split, after_the_first, last_of_each
from riverbank.generator import sources
from riverbank.generator.attack import Attack
from riverbank.generator.world import World
from streams.settings import USUAL_HEADS, USUAL_LEARNING_RATES, HeadSettings

Names: TypeAlias = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Opened:
    """A data set ready to be read: institutions, and their arrivals from the beginning each time."""

    institutions: Names
    arrivals: Callable[[Counter[str]], Iterable[Arrival]]
    asked: Sequence[Arrival] = ()  # Asked about when all arrivals have been learned, and measured instead of them.
    attack: Attack | None = None  # What strikes one of the institutions, if anything does.


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSet:
    """One entry of SETS."""

    name: str
    head: HeadName
    about: str  # Who the institutions are and when labels come, for the report.
    open: Callable[[Path, int], Opened]  # Folder of all data sets, seed.
    round_every: str  # As `course.Cadence.parsed` reads it.
    events: int | None = None  # So many events are enough; None: all there are.
    learning_rate: float
    rounds: HeadSettings
    from_files: bool = True


def data_set(name: str) -> DataSet:
    """The set of this name; OwnFault lists the names there are."""
    found = SETS.get(name)
    if found is None:
        raise OwnFault(f"there is no data set {name}; there are {', '.join(SETS)}")
    return found


def _numbered(count: int) -> Names:
    return INSTITUTIONS if count == len(INSTITUTIONS) else tuple(f"bank-{number:02d}" for number in range(count))


def _sba(folder: Path, _seed: int, *, largest: int, with_term: bool = True) -> Opened:
    banks = sba.lenders_and_others(folder / FOLDERS["sba"], largest)
    # A party's name starts with a letter; "1st source bank" does not.
    names = {bank: name if name[0].isalpha() else f"bank-{name}" for bank, name in banks.items()}

    def arrivals(refused: Counter[str]) -> Iterable[Arrival]:
        return sba.arrivals(folder / FOLDERS["sba"], refused, names, outcome_days_max=30, with_term=with_term)

    return Opened(tuple(dict.fromkeys(names.values())), arrivals)


def _taiwan(folder: Path, _seed: int, *, institutions: int, split: taiwan.Split) -> Opened:
    names = _numbered(institutions)
    return Opened(names, lambda refused: taiwan.arrivals(folder / FOLDERS["taiwan"], refused, names, split=split))


def _berka(folder: Path, _seed: int) -> Opened:
    return Opened(berka.EVERY_REGION, lambda refused: berka.credit_arrivals(folder / FOLDERS["berka"], refused, berka.EVERY_REGION))


def _handbook(folder: Path, _seed: int, *, institutions: int, payments: int | None) -> Opened:
    names = _numbered(institutions)
    return Opened(names, lambda refused: handbook.arrivals(folder / FOLDERS["handbook"], refused, names, payments=payments))


def _santander(folder: Path, seed: int) -> Opened:
    names = _numbered(5)
    return Opened(names, lambda refused: santander.arrivals(folder / FOLDERS["santander"], refused, names, seed=seed))


def _split(folder: Path, seed: int, *, opened: Callable[[Path, int], Opened], by: Callable[[Iterable[Arrival]], Split]) -> Opened:
    """A set of which something is held out."""
    whole = opened(folder, seed)
    split = by(whole.arrivals(Counter()))
    return Opened(whole.institutions, lambda _refused: split.learned, split.asked)


def _generated(_folder: Path, seed: int, *, head: HeadName) -> Opened:
    world = World(seed=seed)
    return Opened(world.names, sources.sources(world)[head])


def _attacked(_folder: Path, seed: int) -> Opened:
    attack = Attack(world=World(seed=seed))
    return Opened(attack.world.names, lambda _refused: attack.arrivals(), attack=attack)


_CREDIT, _FRAUD, _PRODUCTS = HeadName.CREDIT, HeadName.FRAUD, HeadName.PRODUCTS


def _set(
    name: str, head: HeadName, about: str, opened: Callable[[Path, int], Opened], round_every: str, *, events: int | None = None,
    learning_rate: float | None = None, rounds: HeadSettings | None = None, from_files: bool = True,
) -> DataSet:  # fmt: skip
    """With the settings that a federation starts with, where the set has none of its own."""
    return DataSet(
        name=name, head=head, about=about, open=opened, round_every=round_every, events=events, from_files=from_files,
        learning_rate=learning_rate or USUAL_LEARNING_RATES[head], rounds=rounds or USUAL_HEADS[head],
    )  # fmt: skip


_SBA_LABELS: Final = "outcomes at most 30 days after approval"
_TAIWAN: Final = HeadSettings(server_step=10.0, noise_multiplier=0.0)
_TAIWAN_RATE: Final = 0.05
_ALL: Final = (
    _set("sba-31", _CREDIT, f"30 largest lenders and all others; {_SBA_LABELS}", partial(_sba, largest=30), "200"),
    _set("sba-31-no-term", _CREDIT, f"as sba-31, the loan's term left out; {_SBA_LABELS}", partial(_sba, largest=30, with_term=False), "200"),
    _set("sba-10-time", _CREDIT, f"9 largest lenders and all others; {_SBA_LABELS}", partial(_sba, largest=9), "200"),
    _set("taiwan-6", _CREDIT, "thirds of the credit limit, each by sex; outcomes after 30 days",
         partial(_taiwan, institutions=6, split=taiwan.Split.BY_LIMIT_AND_SEX), "1000", learning_rate=_TAIWAN_RATE, rounds=_TAIWAN),
    _set("taiwan-30", _CREDIT, "customer number modulo 30; outcomes after 30 days",
         partial(_taiwan, institutions=30, split=taiwan.Split.BY_NUMBER), "1000", learning_rate=_TAIWAN_RATE, rounds=_TAIWAN),
    _set("berka", _CREDIT, "region of the account's district, 8; outcomes when the loan ends", _berka, "50"),
    _set("handbook-5", _FRAUD, "customer number modulo 5; outcomes after 7 days", partial(_handbook, institutions=5, payments=None), "5000"),
    _set("handbook-20", _FRAUD, "customer number modulo 20; outcomes after 7 days", partial(_handbook, institutions=20, payments=None), "5000"),
    _set("santander", _PRODUCTS, "customer number modulo 5; acquisitions in the order of their months", _santander, "300"),
    _set("santander-loo", _PRODUCTS, "customer number modulo 5; everybody's last acquisition is held out",
         partial(_split, opened=_santander, by=last_of_each), "300"),
    _set("santander-temporal", _PRODUCTS, "customer number modulo 5; what was taken after the first month is held out",
         partial(_split, opened=_santander, by=after_the_first), "300"),
    _set("generator-credit", _CREDIT, "five generated institutions; outcomes after 30 to 60 days", partial(_generated, head=_CREDIT), "200",
         events=20_000, from_files=False),
    _set("generator-fraud", _FRAUD, "five generated institutions; outcomes after 7 days", partial(_generated, head=_FRAUD), "1000",
         events=100_000, from_files=False),
    _set("generator-products", _PRODUCTS, "five generated institutions", partial(_generated, head=_PRODUCTS), "300",
         events=30_000, from_files=False),
    _set("generator-attack", _FRAUD, "five generated institutions, outcomes after 7 days; on day 21 a new kind of fraud strikes one of them, "
         "confirmed within a minute, with a round every minute from then on", _attacked, "1000", from_files=False),
)  # fmt: skip
SETS: Final = {each.name: each for each in _ALL}
