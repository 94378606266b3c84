"""The files of a fuzzy linkage: a party's customers encoded, two parties' encodings paired, the new ids at home again.

Called by `riverbank vertical encode`, `link` (at the linkage unit) and `rename`; docs/vertical.md shows the three in order.
Never writes a customer or an identifier into a file for the unit, nor the order in which a party lists its customers."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Final

from federation.errors import OwnFault
from federation.limits import LIST_MAX
from federation.secagg.keys import KEY_BYTES, Secret, drawn
from federation.vertical.linkage import ENCODING_BYTES, encoded, named, paired, setting
from riverbank.provisioning.bundles import write_secret
from streams.ports import Entropy
from streams.settings import read_private_file

FOR_UNIT: Final = "for-unit.csv"
KEPT: Final = "kept.csv"
ANSWERS: Final = ("bank.csv", "partner.csv")
_CUSTOMER: Final = "customer"
_ROW_BYTES: Final = 16
_KEY: Final = re.compile(rb"[0-9a-fA-F]{%d}" % (2 * KEY_BYTES))
_ID: Final = re.compile("[0-9a-f]{32}")
_ENCODING: Final = re.compile(f"[0-9a-f]{{{2 * ENCODING_BYTES}}}")
_SETTING: Final = re.compile("clk-[0-9a-f]{16}")


@dataclass(frozen=True, slots=True)
class _Table:
    header: tuple[str, ...]
    rows: list[list[str]]


def encode_file(key_file: Path, customers: Path, directory: Path, *, entropy: Entropy) -> int:
    """Encode a CSV of `customer` and identifiers into a new folder: FOR_UNIT for the unit, KEPT for nobody. How many they are.

    Rows are named and ordered at random. OwnFault or SettingsError: no key of 64 hexadecimal digits for its owner's eyes only, a
    malformed or too long list, a customer without a name or listed twice, a folder that exists.
    """
    key, table = _key(key_file), _read(customers)
    if table.header.count(_CUSTOMER) != 1 or len(table.header) < 2:
        raise OwnFault(f"{customers}: the first line names the columns: {_CUSTOMER}, and the identifiers both parties have")
    at = table.header.index(_CUSTOMER)
    # In one order whatever the file's: the same columns in another order are the same identifiers.
    fields = sorted(field for field in table.header if field != _CUSTOMER)
    names = [row[at].strip() for row in table.rows]
    if not all(names) or len(set(names)) != len(names):
        raise OwnFault(f"{customers}: every customer has a name of its own in the column {_CUSTOMER}")
    try:
        encodings = encoded([[row[table.header.index(field)] for field in fields] for row in table.rows], fields, key)
    except OwnFault as error:
        raise OwnFault(f"{customers}: {error}") from error
    # Random names, sorted: an order that says nothing, and an answer to another encoding is noticed.
    listed = sorted(zip((drawn(entropy, _ROW_BYTES).hex() for _ in names), names, encodings, strict=True))
    _require_new(directory)
    _write(directory / KEPT, ("row", _CUSTOMER), ((row, name) for row, name, _ in listed))
    _write(directory / FOR_UNIT, ("row", f"clk-{setting(key, fields)}"), ((row, encoding.hex()) for row, _, encoding in listed))
    return len(names)


def link_files(bank: Path, partner: Path, directory: Path, *, threshold: float, entropy: Entropy) -> int:
    """At the unit: pair two FOR_UNIT files and write ANSWERS into a new folder, an id for every row. How many pairs there are.

    OwnFault: a malformed file, files encoded with different keys or identifiers, a threshold out of range, a folder that exists.
    """
    ours, theirs = (_read(path) for path in (bank, partner))
    lists = [_encodings(path, table) for path, table in ((bank, ours), (partner, theirs))]
    if ours.header != theirs.header:
        raise OwnFault(f"{bank} and {partner} were encoded with different keys or identifiers: both parties use the same of either")
    _require_new(directory)
    pairs = paired(*lists, threshold=threshold)
    ids = named(pairs, len(lists[0]), len(lists[1]), entropy=entropy)
    for name, table, given in zip(ANSWERS, (ours, theirs), (ids.bank, ids.partner), strict=True):
        _write(directory / name, ("row", "id"), ((row, id_) for (row, _), id_ in zip(table.rows, given, strict=True)))
    return len(pairs)


def rename_file(encoded_in: Path, answer: Path, out: Path) -> int:
    """At a party: from KEPT and the unit's answer write a new CSV `customer,id`. How many they are. OwnFault: either is malformed or the other's."""
    kept, told = _read(encoded_in / KEPT), _read(answer)
    if kept.header != ("row", _CUSTOMER):
        raise OwnFault(f"{encoded_in / KEPT}: not written by `riverbank vertical encode`")
    ids = dict(told.rows) if told.header == ("row", "id") else {}
    if not all(_ID.fullmatch(value) for row in ids.items() for value in row) or len(set(ids.values())) != len(told.rows):
        raise OwnFault(f"{answer}: not an answer of a linkage unit, with one different id for each row")
    if [row for row, _ in kept.rows] != sorted(ids):
        raise OwnFault(f"{answer} answers another encoding than {encoded_in}")
    _write(out, (_CUSTOMER, "id"), ((customer, ids[row]) for row, customer in kept.rows))
    return len(ids)


def _key(path: Path) -> Secret:
    text = read_private_file(path).strip()
    if not _KEY.fullmatch(text):
        raise OwnFault(f"{path}: a linkage key is {2 * KEY_BYTES} hexadecimal digits; make one with `openssl rand -hex {KEY_BYTES}`")
    return Secret(bytes.fromhex(text.decode()))


def _encodings(path: Path, table: _Table) -> list[bytes]:
    if len(table.header) != 2 or table.header[0] != "row" or not _SETTING.fullmatch(table.header[1]):
        raise OwnFault(f"{path}: not written by `riverbank vertical encode`")
    for line, (row, encoding) in enumerate(table.rows, 2):
        if not _ID.fullmatch(row) or not _ENCODING.fullmatch(encoding):
            raise OwnFault(f"{path}, line {line}: not a row's name and an encoding of {ENCODING_BYTES} bytes")
    if len({row for row, _ in table.rows}) != len(table.rows):
        raise OwnFault(f"{path}: a row is there twice")
    return [bytes.fromhex(encoding) for _, encoding in table.rows]


def _read(path: Path) -> _Table:
    rows: list[list[str]] = []
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = csv.reader(file, strict=True)
            header = tuple(name.strip() for name in next(lines, []))
            for row in lines:
                if len(row) != len(header):
                    raise OwnFault(f"{path}, line {lines.line_num}: {len(row)} values under {len(header)} columns")
                rows.append(row)
                if len(rows) > LIST_MAX:
                    raise OwnFault(f"{path}: more than {LIST_MAX} rows")
    except OSError as error:
        raise OwnFault(f"{path}: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise OwnFault(f"{path}: not a CSV file in UTF-8: {error}") from error
    if not rows:
        raise OwnFault(f"{path}: no rows")
    return _Table(header, rows)


def _write(path: Path, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    text = StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(header)
    table.writerows(rows)
    try:
        write_secret(path, text.getvalue().encode())
    except OSError as error:
        raise OwnFault(f"{path}: {error.strerror}") from error


def _require_new(directory: Path) -> None:
    if directory.exists():
        raise OwnFault(f"{directory} exists: a linkage is written into a new folder, never over another")
