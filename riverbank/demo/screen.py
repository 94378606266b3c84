"""The demo in a terminal: heads, institutions, rounds, lag, and where to click.

Drawn by `riverbank.demo.run` once a second.
Never computes anything: it lays out what `watch` and `lookups` know."""

from __future__ import annotations

from rich.console import Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from riverbank.demo.lookups import Lookups
from riverbank.demo.stack import CONSOLE, Stack
from riverbank.demo.watch import Watch
from web.views import head_cards, institution_rows, round_rows
from web.wiring import SystemClock

_STYLES = {
    "ok": "green",
    "published": "green",
    "behind": "yellow",
    "masking": "yellow",
    "unmasking": "yellow",
    "summed": "yellow",
    "silent": "red",
    "abandoned": "red",
}


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", expand=True, pad_edge=False, box=None, header_style="dim")
    for column in columns:
        table.add_column(column.lstrip(">"), justify="right" if column.startswith(">") else "left", no_wrap=True)
    return table


def _heads(watch: Watch) -> Table:
    table = _table("Heads", "head", ">federated", ">local-only", ">gain", ">model", ">published", ">abandoned", ">learned")
    for card in head_cards(watch.rounds, watch.institutions):
        gain = Text(card["gain"], style="red" if card["gain_class"] == "down" else "green")
        quality = f"{card['quality_name']} {card['federated']}"
        table.add_row(
            card["title"],
            quality,
            card["local"],
            gain,
            str(card["version"]),
            str(card["published"]),
            str(card["abandoned"]),
            card["learned"],
        )
    return table


def _institutions(watch: Watch, now_ms: int) -> Table:
    table = _table(
        "Institutions",
        "institution",
        "head",
        "state",
        ">round",
        ">to read",
        ">oldest",
        ">learned",
        ">waiting",
        ">dead",
        ">federated",
        ">local",
    )
    for row in institution_rows(watch.rounds, watch.institutions, now_ms):
        state = Text(row["state"], style=_STYLES[row["state"]])
        table.add_row(
            row["institution"], row["head"], state, str(row["round"]), row["lag_records"], row["lag"],
            row["learned"], row["waiting"], row["dead_letters"], row["federated"], row["local"],
        )  # fmt: skip
    return table


def _rounds(watch: Watch) -> Table:
    table = _table("Newest rounds", "head", ">round", "opened", "state", ">updates", ">summed", ">took", "outcome")
    for row in round_rows(watch.rounds)[:6]:
        table.add_row(
            row["head"], str(row["round"]), row["opened"], Text(row["state"], style=_STYLES[row["state"]]),
            str(row["updates"]), str(row["survivors"]), row["took"], row["outcome"],
        )  # fmt: skip
    return table


def draw(stack: Stack, watch: Watch, lookups: Lookups, notes: str) -> Group:
    """The whole screen."""
    where = Text()
    for name, is_for in ((CONSOLE, "the console"), (f"portal-{stack.institutions[0]}", f"{stack.institutions[0]}'s portal")):
        where.append("Open  ", style="bold")
        where.append(stack.invitation(name) or f"{is_for} is starting ...", style="underline cyan")
        where.append(f"  joins {is_for}, once; afterwards log in at its address\n")
    where.append(
        f"Ask   curl -H @{stack.key_file(f'portal-{stack.institutions[0]}')} ADDRESS/api/v1/recommendations/CUSTOMER\n", style="dim"
    )
    median, slow = lookups.percentile_ms(0.5), lookups.percentile_ms(0.99)
    where.append(f"Lookups {len(lookups.seconds)}, p50 {median} ms, p99 {slow} ms; {lookups.newest}\n" if lookups.seconds else "")
    where.append(notes, style="dim")
    return Group(
        Panel(where, title="Riverbank: five institutions learn together (Ctrl-C ends it)", border_style="green"),
        _heads(watch),
        _institutions(watch, SystemClock().now_ms()),
        _rounds(watch),
    )
