"""The report in a folder: JSON, Markdown, and a page with its pictures, which also lie beside it as PNG.

Called by the command line with what `command` found.
Never refers to anything outside of the folder: the page opens without a network."""

from __future__ import annotations

from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from federation.errors import OwnFault
from riverbank.evaluation import tables
from riverbank.evaluation.command import as_json
from riverbank.evaluation.results import Result


def write(results: list[Result], folder: Path) -> list[Path]:
    """results.json, results.md, report.html and a PNG per plot; OwnFault without matplotlib."""
    try:
        from riverbank.evaluation.plots import plots  # noqa: PLC0415 An extra: only a report needs it.
    except ImportError as error:
        raise OwnFault("a report needs matplotlib: install riverbank[evaluate], or leave --out away") from error
    folder.mkdir(parents=True, exist_ok=True)
    pictures = {result.data_set: list(plots(result)) for result in results}
    written = {
        "results.json": as_json(results).encode(),
        "results.md": "\n".join(tables.markdown(result) for result in results).encode(),
        **{f"{name}-{plot.name}.png": plot.png() for name, drawn in pictures.items() for plot in drawn},
    }
    page = Environment(loader=PackageLoader("riverbank.evaluation", "."), autoescape=True, undefined=StrictUndefined).get_template(
        "report.html.j2"
    )
    written["report.html"] = page.render(results=results, pictures=pictures, tables=tables).encode()
    for name, content in written.items():
        (folder / name).write_bytes(content)
    return [folder / name for name in written]
