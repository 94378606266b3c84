"""How well an update hides in a group, and how likely its companions are too many of the aggregator's friends: prints Markdown.

Run as `python benchmarks/groups.py`; the table stands in docs/groups.md.
Never draws anything: lots make every partition equally likely (federation/rounds/lots.py), so the chances are hypergeometric."""

from __future__ import annotations

from math import comb
from typing import Final

from federation.limits import COHORT_MIN, corrupt_of, threshold_of

INSTITUTIONS: Final = (9, 15, 30, 60, 120)
GROUPS: Final = (1, 3, 5, 10)


def chance_of_more(institutions: int, size: int, friends: int, most: int) -> float:
    """That among the size - 1 companions of one honest institution are more than `most` of the aggregator's `friends`."""
    drawn = size - 1
    bad = sum(comb(friends, count) * comb(institutions - 1 - friends, drawn - count) for count in range(most + 1, min(friends, drawn) + 1))
    return bad / comb(institutions - 1, drawn)


def main() -> None:
    """One row per number of institutions and of groups; sizes are those of the smallest group."""
    print(
        "| institutions | groups | in a group | in a sum, at least | of them honest | bound broken, a tenth / a fifth friends | alone, a tenth / a fifth |"
    )
    print("|---" * 7 + "|")
    for institutions in INSTITUTIONS:
        for groups in GROUPS:
            size = institutions // groups
            if size < COHORT_MIN:
                continue
            least, corrupt = threshold_of(size), corrupt_of(size)
            friends = (institutions // 10, institutions // 5)
            broken, alone = ([chance_of_more(institutions, size, few, most) for few in friends] for most in (corrupt, size - 2))
            figures = (
                institutions,
                groups,
                size,
                least,
                least - corrupt,
                *(" / ".join(f"{each:.2g}" for each in pair) for pair in (broken, alone)),
            )
            print(f"| {' | '.join(map(str, figures))} |")


if __name__ == "__main__":
    main()
