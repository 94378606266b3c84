"""`riverbank evaluate`: what was asked for, gone through variant by variant, shown and written.

Called by the command line.
Never lets a figure out that the same command would not give again."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from federation.errors import OwnFault
from federation.messages import HeadName
from riverbank.evaluation.course import Course, Ran, run
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
    round_every: str | None = None  # One distance of rounds, or several, comma-separated; None: the set's own.
    labels_at_once: bool = False
    seed: int = 1
    jobs: int = 1


class _Pass(NamedTuple):
    """One variant of one set; `round_every` None: it has no rounds."""

    asked: Asked
    set_name: str
    variant: Variant
    round_every: str | None


def evaluate(asked: Asked, said: Callable[[str], None]) -> list[Result]:
    """A result per data set; `said` hears of progress. OwnFault for what cannot be done, in one sentence."""
    passes = {chosen.name: list(_passes(asked, chosen, said)) for chosen in _chosen(asked)}
    if asked.jobs == 1:
        return [_result(asked, name, found, map(_go, found), said) for name, found in passes.items()]
    with ProcessPoolExecutor(asked.jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        running = {name: pool.map(_go, found) for name, found in passes.items()}
        return [_result(asked, name, found, running[name], said) for name, found in passes.items()]


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


def _passes(asked: Asked, chosen: DataSet, said: Callable[[str], None]) -> Iterator[_Pass]:
    cadences = [text.strip() for text in (asked.round_every or chosen.round_every).split(",")]
    for text in cadences:
        Cadence.parsed(text)  # Before anything is run.
    for variant in variants(asked.variants):
        if chosen.head is HeadName.PRODUCTS and variant.who in {Who.RIVER_LOCAL, Who.RIVER_POOLED}:
            said(f"{chosen.name}: {variant.name} is left out, it scores risks only")
        elif variant.who is Who.FEDERATED:
            yield from (_Pass(asked, chosen.name, variant, every) for every in cadences)
        else:
            yield _Pass(asked, chosen.name, variant, None)


def _course(asked: Asked, chosen: DataSet) -> Course:
    return Course(
        data_set=chosen,
        opened=chosen.open(asked.data or Path(), asked.seed),
        events=asked.events or chosen.events,
        labels_at_once=asked.labels_at_once,
        seed=asked.seed,
    )


def _go(one: _Pass) -> Ran:
    """One pass, in this process or another."""
    cadence = Cadence() if one.round_every is None else Cadence.parsed(one.round_every)
    return asyncio.run(run(_course(one.asked, data_set(one.set_name)), one.variant, cadence))


def _result(asked: Asked, name: str, passes: list[_Pass], came: Iterator[Ran], said: Callable[[str], None]) -> Result:
    ran = []
    for one in passes:
        ran.append((one.variant, one.round_every, next(came)))
        said(f"{name}: {one.variant.name}" + ("" if one.round_every is None else f", a round every {one.round_every}"))
    return result_of(_course(asked, data_set(name)), ran)
