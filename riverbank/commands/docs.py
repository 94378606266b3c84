"""`riverbank docs`: pages that are rendered from the code.

Mounted by `riverbank.cli`; development only.
Never touches a page that people write."""

from __future__ import annotations

from typing import Final

import typer

group: Final = typer.Typer(no_args_is_help=True, help="Pages of the documentation that are rendered from the code.")


@group.command("render")
def docs_render() -> None:
    """Write docs/settings.md and docs/metrics.md anew."""
    from riverbank.documents import PAGES, rendered

    for name, text in rendered().items():
        (PAGES / name).write_text(text)


@group.command("check")
def docs_check() -> None:
    """Exit 1 if a rendered page is not what the code says; a line for each."""
    from riverbank.documents import stale

    for name in (wrong := stale()):
        typer.echo(f"docs/{name} is stale; run `riverbank docs render`", err=True)
    raise typer.Exit(1 if wrong else 0)
