"""How often fuzzy linkage errs: people invented with names, dates and towns, typos at the partner; prints a Markdown table.

Run as `python benchmarks/linkage.py [--people 2000] [--seed 1]`; the figures are in docs/vertical.md.
Never a claim about real people: real names repeat more, and real typos are not drawn evenly."""

from __future__ import annotations

import argparse
import hashlib
import random
from collections.abc import Sequence

from federation.secagg.keys import Secret
from federation.vertical.linkage import encoded, paired

FIELDS = ("given_name", "family_name", "born", "postcode")
THRESHOLDS = (0.6, 0.7, 0.75, 0.8, 0.85, 0.9)
KEY = Secret(hashlib.sha256(b"a key for figures").digest())
GIVEN_NAMES = """anna maria eva jana hana lenka petra lucie katerina alena marie tereza jan petr josef pavel martin tomas jaroslav
miroslav zdenek vaclav karel milan michal jakub lukas david daniel adam filip ondrej"""
SYLLABLES = "no vo dvo ra ce cer ny pro ha zka ku be ra ho la ma re po sil do le zal sko va ne mec ek ik man ta ro si mo li"
LETTERS = "abcdefghijklmnopqrstuvwxyz"


def people(count: int, draw: random.Random) -> list[tuple[str, ...]]:
    """Invented persons; a fifth of them share surname and postcode with the one before, as households do."""
    found: list[tuple[str, ...]] = []
    given_names, syllables = GIVEN_NAMES.split(), SYLLABLES.split()
    for _ in range(count):
        family = "".join(draw.choices(syllables, k=draw.choice((2, 3, 3, 4))))
        postcode = f"{draw.randrange(100, 800)}{draw.randrange(10):02}"
        if found and draw.random() < 0.2:
            family, postcode = found[-1][1], found[-1][3]
        born = f"{draw.randrange(1940, 2006)}{draw.randrange(1, 13):02}{draw.randrange(1, 29):02}"
        # Common first names are far more common than others.
        given = given_names[min(int(draw.expovariate(0.12)), len(given_names) - 1)]
        found.append((given, family, born, postcode))
    return found


def mistyped(person: Sequence[str], typos: int, draw: random.Random) -> tuple[str, ...]:
    """The person with so many single slips: a character replaced, left out, added, or two exchanged."""
    values = list(person)
    for _ in range(typos):
        field = draw.randrange(len(values))
        text, at = values[field], draw.randrange(len(values[field]) - 1)
        other = draw.choice(LETTERS if text[at].isalpha() else "0123456789")
        values[field] = draw.choice(
            (text[:at] + other + text[at + 1 :], text[:at] + text[at + 1 :], text[:at] + other + text[at:],
             text[:at] + text[at + 1] + text[at] + text[at + 2 :])
        )  # fmt: skip
    return tuple(values)


def errors(count: int, typos: int, thresholds: Sequence[float], seed: int, *, scarce: bool = False) -> list[tuple[float, float]]:
    """(part of the shared who are missed, part of the pairs that are wrong) at each threshold; half of each list are shared.

    `scarce`: only names and the year of birth are known.
    """
    draw = random.Random(f"{seed}/{typos}")
    everybody = people(count + count // 2, draw)
    if scarce:
        everybody = [(given, family, born[:4]) for given, family, born, _ in everybody]
    fields = FIELDS[: len(everybody[0])]
    bank = encoded(everybody[:count], fields, KEY)
    partner = encoded([mistyped(each, typos, draw) for each in everybody[count // 2 :]], fields, KEY)
    found = []
    for threshold in thresholds:
        pairs = paired(bank, partner, threshold=threshold)
        right = sum(mine == yours + count // 2 for mine, yours in pairs)
        found.append((1 - right / (count - count // 2), 1 - right / max(1, len(pairs))))
    return found


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--people", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    print(f"| identifiers | typos | {' | '.join(f'at {threshold}' for threshold in THRESHOLDS)} |\n|---|---|{'---|' * len(THRESHOLDS)}")
    for scarce in (False, True):
        for typos in range(4):
            cells = errors(asked.people, typos, THRESHOLDS, asked.seed, scarce=scarce)
            told = " | ".join(f"{100 * missed:.1f} / {100 * wrong:.1f}" for missed, wrong in cells)
            print(f"| {'names, year of birth' if scarce else 'names, birth date, postcode'} | {typos} | {told} |")


if __name__ == "__main__":
    main()
