"""Rows of the data sets' files: plain or gzipped text with separated columns, and the few spellings of dates and money in them.

Called by every adapter of this package.
Never reads a file into memory, and never lets a file's fault go without a sentence that names the file."""

from __future__ import annotations

import csv
import datetime as dt
import gzip
import math
from collections.abc import Iterator, Sequence
from operator import itemgetter
from pathlib import Path
from typing import IO, Final

from federation.errors import OwnFault
from riverbank.arrivals import DAY_MS

_EPOCH: Final = dt.date(1970, 1, 1).toordinal()


def find_file(folder: Path, pattern: str) -> Path:
    """The first file of `folder`, by name, that matches `pattern` with or without ".gz"; OwnFault says what to put where."""
    if not folder.is_dir():
        raise OwnFault(f"there is no folder {folder}: give --data a folder that holds one, or leave --data out to use generated events")
    found = sorted({*folder.glob(pattern), *folder.glob(f"{pattern}.gz")})
    if not found:
        raise OwnFault(f"{folder} holds no {pattern} or {pattern}.gz: copy the data set there (docs/data.md), or choose another one")
    return found[0]


def read_rows(path: Path, columns: Sequence[str], *, separator: str = ",") -> Iterator[tuple[str, ...]]:
    """The values of these columns, row by row; a row that is too short is given as empty values.

    OwnFault: the file lacks a column, or cannot be read.
    """
    try:
        with _opened(path) as text:
            table = csv.reader(text, delimiter=separator)
            header = [name.strip() for name in next(table, [])]
            missing = [name for name in columns if name not in header]
            if missing:
                raise OwnFault(f"{path} has no column {', '.join(missing)}: it is not the file that docs/data.md describes")
            take = itemgetter(*(header.index(name) for name in columns))
            width = len(header)
            empty = ("",) * len(columns)
            for row in table:
                yield take(row) if len(row) >= width else empty
    except (OSError, EOFError, UnicodeDecodeError, csv.Error) as error:
        raise OwnFault(f"{path} cannot be read to its end ({type(error).__name__}): copy the file again") from error


def _opened(path: Path) -> IO[str]:
    return gzip.open(path, "rt", encoding="utf-8", newline="") if path.suffix == ".gz" else path.open(encoding="utf-8", newline="")


def date_ms(date: dt.date) -> int:
    """The date's midnight in UTC, milliseconds since 1970."""
    return (date.toordinal() - _EPOCH) * DAY_MS


def number_of(text: str) -> float | None:
    """A finite number, money included ("$60,000.00 "); None if it is none."""
    try:
        number = float(text.strip().lstrip("$").replace(",", ""))
    except ValueError:
        return None
    return number if math.isfinite(number) else None
