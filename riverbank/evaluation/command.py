"""`riverbank evaluate`: what was asked for, gone through variant by variant, shown and written.

Called by the command line.
Never lets a figure out that the same command would not give again."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from federation.errors import OwnFault
from riverbank.evaluation import tables
from riverbank.evaluation.course import Course, run
from riverbank.evaluation.passage import Cadence
from riverbank.evaluation.results import Result, result_of
from riverbank.evaluation.sets import SETS, DataSet, data_set
from riverbank.evaluation.variants import USUAL, Variant, Who, variants

ALL: Final = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The options of the command."""

    data: Path | None
    sets: str = ALL
    variants: str = USUAL
    events: int | None = None
    round_every: str | None = None
    labels_at_once: bool = False
    seed: int = 1


def evaluate(asked: Asked, said: Callable[[str], None]) -> list[Result]:
    """A result per data set; `said` hears of progress. OwnFault for what cannot be done, in one sentence."""
    return [_evaluated(asked, each, said) for each in _chosen(asked)]


def write(results: list[Result], folder: Path) -> list[Path]:
    """results.json and results.md in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    written = {"results.json": as_json(results), "results.md": "\n".join(tables.markdown(result) for result in results)}
    for name, text in written.items():
        (folder / name).write_text(text)
    return [folder / name for name in written]


def as_json(results: list[Result]) -> str:
    """All results; the same text for the same input."""
    return json.dumps([result.to_json() for result in results], indent=1) + "\n"


def _chosen(asked: Asked) -> list[DataSet]:
    if asked.sets == ALL:
        return [each for each in SETS.values() if asked.data is not None or not each.from_files]
    chosen = [data_set(name.strip()) for name in asked.sets.split(",")]
    for each in chosen:
        if each.from_files and asked.data is None:
            raise OwnFault(f"{each.name} is read from files: name their folder with --data (docs/data.md)")
    return chosen


def _evaluated(asked: Asked, chosen: DataSet, said: Callable[[str], None]) -> Result:
    round_every = asked.round_every or chosen.round_every
    course = Course(
        data_set=chosen,
        opened=chosen.open(asked.data or Path(), asked.seed),
        cadence=Cadence.parsed(round_every),
        events=asked.events or chosen.events,
        labels_at_once=asked.labels_at_once,
        seed=asked.seed,
    )
    ran = []
    for variant in variants(asked.variants):
        if not _applies(variant, chosen):
            said(f"{chosen.name}: {variant.name} scores risks only, left out")
            continue
        said(f"{chosen.name}: {variant.name}")
        ran.append((variant, asyncio.run(run(course, variant))))
    return result_of(course, round_every, ran)


def _applies(variant: Variant, chosen: DataSet) -> bool:
    return chosen.head.value != "products" or variant.who not in {Who.RIVER_LOCAL, Who.RIVER_POOLED}
