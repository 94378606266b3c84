"""MovieLens-100K: who rated which film, and how, second by second; each rating an acquisition where only what was chosen matters.

Called by the evaluation. Source: Harper and Konstan, "The MovieLens Datasets", ACM TiiS 5(4), 2015; files in RecBole's atomic format.
Never uses age, sex or occupation: only the first sign of the postal code, which says whose customer somebody is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from federation.heads.products import Product
from federation.messages import InteractionKind, ProductInteraction
from riverbank.arrivals import Arrival, customer_id
from riverbank.datasets.files import find_file, number_of, read_rows

RATINGS: Final = "*.inter"
USERS: Final = "*.user"
ITEMS: Final = "*.item"
_TAB: Final = "\t"


@dataclass(frozen=True, slots=True)
class Rating:
    """One row: 1 to 5 stars, and when."""

    customer: int
    item: int
    stars: float
    at_ms: int


def arrivals(folder: Path, refused: Counter[str], institutions: tuple[str, ...]) -> Iterator[Arrival]:
    """Every film rated, in the order of the ratings; institution: first sign of the customer's postal code, modulo their number."""
    owners = owners_of(folder, len(institutions))
    for rating in ratings(folder, refused):
        institution = owners[rating.customer]
        taken = ProductInteraction(
            event_id=f"rating-{rating.customer:06d}-{rating.item:06d}",
            customer=customer_id(institution, rating.customer),
            occurred_at_ms=rating.at_ms,
            consented=True,
            product=product_id(rating.item),
            kind=InteractionKind.ACQUIRED,
            segment=None,
        )
        yield Arrival(institutions[institution], taken)


def ratings(folder: Path, refused: Counter[str]) -> Iterator[Rating]:
    """All ratings in time order; those of one second by customer and film."""
    found = []
    columns = ("user_id:token", "item_id:token", "rating:float", "timestamp:float")
    for customer, item, stars_text, moment_text in read_rows(find_file(folder, RATINGS), columns, separator=_TAB):
        stars, moment_s = number_of(stars_text), number_of(moment_text)
        if stars is None or moment_s is None or not (customer.isdigit() and item.isdigit()):
            refused["a number unreadable"] += 1
        else:
            found.append((int(moment_s) * 1000, int(customer), int(item), stars))
    for at_ms, number, film, stars in sorted(found):
        yield Rating(number, film, stars, at_ms)


def owners_of(folder: Path, institutions: int) -> dict[int, int]:
    """Customer number -> institution: the first digit of the postal code; a letter (Canada) counts by its place in the alphabet."""
    rows = read_rows(find_file(folder, USERS), ("user_id:token", "zip_code:token"), separator=_TAB)
    return {int(number): int(code[:1], 36) % institutions for number, code in rows if number.isdigit() and code[:1].isalnum()}


def products(folder: Path) -> tuple[Product, ...]:
    """The films, as products of one family, in the order of their numbers."""
    rows = read_rows(find_file(folder, ITEMS), ("item_id:token", "movie_title:token_seq", "release_year:token"), separator=_TAB)
    films = sorted((int(number), title, year) for number, title, year in rows if number.isdigit())
    return tuple(Product(product_id(number), "film", f"{title} ({year})") for number, title, year in films)


def product_id(item: int) -> str:
    """A film's identifier."""
    return f"film-{item:04d}"
