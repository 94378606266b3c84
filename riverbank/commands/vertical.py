"""`riverbank vertical`: one party of a vertical partnership, and what its bank asks of it.

Mounted by `riverbank.cli`.
Never shows a customer whom both parties did not agree to show."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar

import typer

from riverbank.commands.frame import CannotRun, Config, Json, run_until_stopped, settings_of, show
from streams.settings import VerticalProcess

T = TypeVar("T")

group: Final = typer.Typer(no_args_is_help=True, help="A scorecard of two parties who share customers (docs/vertical.md).")


@group.command("run")
def vertical_run(config: Config) -> None:
    """One party of a vertical partnership: listen, answer, train, predict, until stopped."""
    from institution_workers.vertical import wiring

    run_until_stopped(wiring.run(settings_of(config, VerticalProcess)))


@group.command("status")
def vertical_status(config: Config, as_json: Json = False) -> None:
    """What either party last said of the partnership."""
    from riverbank.vertical import status

    show(_answered(status(settings_of(config, VerticalProcess))), as_json)


Wait = Annotated[int, typer.Option("--wait", min=1, help="Give up after so many seconds.")]


@group.command("intersect")
def vertical_intersect(
    config: Config,
    policy: Annotated[str, typer.Option(help="Who is to learn what: shown, counted or hidden.")] = "shown",
    wait: Wait = 600,
    as_json: Json = False,
) -> None:
    """Ask the partner which customers are shared, or how many; at the bank, whose worker must be running."""
    from federation.messages import OverlapPolicy, VerticalVerb
    from riverbank.vertical import Asked

    if policy not in list(OverlapPolicy):
        raise CannotRun(f"--policy is one of {', '.join(OverlapPolicy)}")
    _ask(config, Asked(VerticalVerb.INTERSECT, wait * 1000, policy=OverlapPolicy(policy)), as_json)


@group.command("train")
def vertical_train(
    config: Config,
    warm: Annotated[bool, typer.Option(help="Go on from the weights at hand, with what is new.")] = False,
    wait: Wait = 3600,
    as_json: Json = False,
) -> None:
    """Train together on the shared customers; at the bank, whose worker must be running."""
    from federation.messages import VerticalVerb
    from riverbank.vertical import Asked

    _ask(config, Asked(VerticalVerb.TRAIN, wait * 1000, warm=warm), as_json)


@group.command("predict")
def vertical_predict(
    config: Config,
    customer: Annotated[str, typer.Argument(help="The name by which both parties know the person.")],
    wait: Wait = 10,
    as_json: Json = False,
) -> None:
    """A customer's probability of default from both halves; from the bank's alone if the partner does not answer."""
    from federation.messages import VerticalVerb
    from riverbank.vertical import Asked

    _ask(config, Asked(VerticalVerb.PREDICT, wait * 1000, customer=customer), as_json)


@group.command("encode")
def vertical_encode(
    customers: Annotated[
        Path, typer.Argument(help="A CSV file: customer, and the identifiers that both parties have under the same names.")
    ],
    out: Annotated[Path, typer.Argument(help="A new folder.")],
    key_file: Annotated[Path, typer.Option(help="64 hexadecimal digits that both parties know and the linkage unit does not.")],
) -> None:
    """At either party: encode customers for a linkage unit, where names are similar only (the limits: docs/vertical.md)."""
    import os

    from riverbank.linkage import FOR_UNIT, KEPT, encode_file

    count = _linked(lambda: encode_file(key_file, customers, out, entropy=os.urandom))
    typer.echo(f"{count} encoded: carry {out / FOR_UNIT} to the unit, and keep {out / KEPT} here")


@group.command("link")
def vertical_link(
    bank: Annotated[Path, typer.Argument(help="The bank's file for the unit.")],
    partner: Annotated[Path, typer.Argument(help="The partner's.")],
    out: Annotated[Path, typer.Argument(help="A new folder.")],
    threshold: Annotated[float, typer.Option(help="The least Dice similarity of a pair; docs/vertical.md has error rates.")],
) -> None:
    """At the linkage unit, which has no key: pair the rows of two encoded lists."""
    import os

    from riverbank.linkage import ANSWERS, link_files

    count = _linked(lambda: link_files(bank, partner, out, threshold=threshold, entropy=os.urandom))
    typer.echo(f"{count} pairs: carry {out / ANSWERS[0]} to the bank, {out / ANSWERS[1]} to the partner, and delete the encodings")


@group.command("rename")
def vertical_rename(
    encoded: Annotated[Path, typer.Argument(help="The folder that `encode` made.")],
    answer: Annotated[Path, typer.Argument(help="The unit's answer.")],
    out: Annotated[Path, typer.Argument(help="A new CSV file: customer, id.")],
) -> None:
    """At either party: the id by which each customer is called in events of the partnership."""
    from riverbank.linkage import rename_file

    typer.echo(f"{_linked(lambda: rename_file(encoded, answer, out))} ids in {out}")


def _linked(work: Callable[[], int]) -> int:
    from federation.errors import OwnFault

    try:
        return work()
    except OwnFault as error:
        raise CannotRun(str(error)) from error


@group.command("evaluate")
def vertical_evaluate(
    data: Annotated[Path, typer.Option(help="Folder of data sets (docs/data.md).")],
    sets: Annotated[str, typer.Option("--set", help="taiwan, berka or both, comma-separated.")] = "taiwan,berka",
    encrypted: Annotated[
        bool, typer.Option(help="Train each set's first division under 3072-bit encryption too (minutes), and compare the bits.")
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="Of the divisions.")] = 1,
    as_json: Json = False,
) -> None:
    """What a vertical partnership is worth: the bank alone, both trained apart, the same scorecard on the joined table."""
    evaluate_apart(data, sets, encrypted=encrypted, seed=seed, as_json=as_json)


def evaluate_apart(data: Path, sets: str, *, encrypted: bool, seed: int, as_json: bool) -> None:
    """Measure a vertical partnership on data sets and show what came of it; also `riverbank evaluate --vertical`."""
    from federation.errors import OwnFault
    from riverbank.evaluation import vertical as evaluation

    names = [name.strip() for name in sets.split(",")]
    try:
        results = evaluation.evaluate(data, names, seed=seed, encrypted=encrypted, said=lambda text: typer.echo(text, err=True))
    except OwnFault as error:
        raise CannotRun(str(error)) from error
    show(evaluation.as_dicts(results) if as_json else evaluation.as_rows(results), as_json)


def _ask(config: Path, asked: Any, as_json: bool) -> None:
    from dataclasses import asdict

    from riverbank.vertical import ask

    settings = settings_of(config, VerticalProcess)
    if settings.vertical.role != "bank":
        raise CannotRun("only the bank begins anything: its partner answers")
    told = _answered(ask(settings, asked))
    show([asdict(told)], as_json)
    raise typer.Exit(0 if told.done else 1)


def _answered(question: Coroutine[Any, Any, T]) -> T:
    from riverbank.vertical import NotTold
    from streams.ports import LogRefused, LogUnavailable

    try:
        return asyncio.run(question)
    except (NotTold, LogRefused, LogUnavailable) as error:
        raise CannotRun(str(error)) from error
