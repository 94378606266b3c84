"""`riverbank feed`: events played into institutions' topics.

Mounted by `riverbank.cli`.
Never plays an event twice while its progress file lives."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from riverbank.commands.frame import CannotRun, Config, run_until_stopped, settings_of
from streams.settings import FeedProcess


def feed(
    config: Config,
    progress: Annotated[Path, typer.Option(help="Where to note how far it is; with one it goes on there.")],
    data: Annotated[Path | None, typer.Option(help="Folder of data sets (docs/data.md); without it events are generated.")] = None,
    seed: Annotated[int, typer.Option(help="Of the generator.")] = 1,
    pace: Annotated[list[str] | None, typer.Option(help="HEAD=PACE, e.g. fraud=1500/s, credit=60s, products=20000x.")] = None,
) -> None:
    """Play events into the institutions' topics: a data set, or generated ones."""
    from federation.errors import OwnFault
    from federation.messages import HeadName
    from riverbank import feed as player
    from riverbank.datasets.selection import Selection
    from riverbank.generator.world import World

    try:
        paces = {HeadName(head): player.Pace.parsed(text) for head, _, text in (given.partition("=") for given in pace or [])}
    except (ValueError, OwnFault) as error:
        raise CannotRun(f"--pace: {error}") from error
    settings = player.FeedSettings(
        sources=settings_of(config, FeedProcess).feed.sources, progress_file=progress,
        origin=World(seed=seed) if data is None else Selection(folder=data, seed=seed), paces=paces or player.GENERATED_PACES,
    )  # fmt: skip
    run_until_stopped(player.run(settings))
