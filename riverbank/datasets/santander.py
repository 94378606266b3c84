"""The month in which each customer of a Spanish bank was first seen holding each of its products.

Called by `selection`. Source: the competition "Santander Product Recommendation", 2016, reduced to first holdings.
Never keeps the file's order within a month: it would say which product is to be guessed next."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Final

from federation.messages import InteractionKind, ProductInteraction
from riverbank.arrivals import Arrival, customer_id
from riverbank.datasets.files import find_file, read_rows

FILE: Final = "interactions*.csv"
COLUMNS: Final = ("USER_ID", "ITEM_ID", "TIMESTAMP")
PRODUCTS: Final = {
    "ahor_fin": "savings_account", "aval_fin": "guarantee", "cco_fin": "current_account", "cder_fin": "derivatives_account",
    "cno_fin": "payroll_account", "ctma_fin": "particular_mas", "ctop_fin": "particular",
    "ctpp_fin": "particular_plus", "deco_fin": "deposit_short", "deme_fin": "deposit_medium", "dela_fin": "deposit_long",
    "ecue_fin": "e_account", "fond_fin": "funds", "hip_fin": "mortgage", "plan_fin": "pension_plan", "pres_fin": "personal_loan",
    "reca_fin": "taxes", "tjcr_fin": "credit_card", "valo_fin": "securities", "viv_fin": "home_account", "nomina": "payroll",
    "nom_pens": "pension_deposit", "recibo": "direct_debit",
}  # fmt: skip


def arrivals(folder: Path, refused: Counter[str], institutions: tuple[str, ...], *, seed: int) -> Iterator[Arrival]:
    """Acquisitions by month; institution: customer number modulo their number.

    Within a month customers, and the products of one customer, come in an order drawn from `seed`. The first month is what
    everybody held when the observation began.
    """
    found = []
    for customer, item, moment in read_rows(find_file(folder, FILE), COLUMNS):
        product = PRODUCTS.get(item.removeprefix("ind_").removesuffix("_ult1"))
        if product is None:
            refused["unknown product"] += 1
        elif not (customer.isdigit() and moment.isdigit()):
            refused["customer or time unreadable"] += 1
        else:
            order = (_drawn(seed, customer), _drawn(seed, customer, product))
            found.append((int(moment), order, int(customer), product))
    found.sort()
    for moment_s, _, number, product in found:
        institution = number % len(institutions)
        taken = ProductInteraction(
            event_id=f"take-{number:08d}-{product}",
            customer=customer_id(institution, number),
            occurred_at_ms=moment_s * 1000,
            consented=True,
            product=product,
            kind=InteractionKind.ACQUIRED,
            segment=None,
        )
        yield Arrival(institutions[institution], taken)


def _drawn(seed: int, *names: str) -> bytes:
    return blake2b("\n".join((str(seed), *names)).encode(), digest_size=8).digest()
