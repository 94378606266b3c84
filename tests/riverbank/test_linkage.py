"""A fuzzy linkage from file to file, as three parties see it."""

from __future__ import annotations

import csv
import os
import stat
from types import SimpleNamespace

import pytest

from federation.errors import OwnFault
from riverbank.linkage import ANSWERS, FOR_UNIT, KEPT, encode_file, link_files, rename_file
from streams.settings import SettingsError
from tests.riverbank.test_cli import one_sentence, said

BANK = "customer,given_name,family_name,born\nb-1,Jan,Novák,1970-03-12\nb-2,Eva,Králová,1985-11-30\n"
PARTNER = 'family_name,customer,born,given_name\nMalý,p-1,1960-01-01,"Petr, jr."\nNowák,p-2,1970-03-12,Jan\n'


@pytest.fixture
def files(tmp_path):
    """A key and both lists."""
    paths = SimpleNamespace(key=tmp_path / "linkage.key", bank=tmp_path / "bank.csv", partner=tmp_path / "partner.csv", at=tmp_path)
    paths.key.touch(mode=0o600)
    paths.key.write_text("ab" * 32 + "\n")
    paths.bank.write_text(BANK)
    paths.partner.write_text(PARTNER)
    return paths


def encode(files, name, out=None):
    encode_file(files.key, getattr(files, name), files.at / (out or f"{name}-encoded"), entropy=os.urandom)
    return files.at / (out or f"{name}-encoded")


def link(files, threshold=0.75):
    bank, partner = (encode(files, name) for name in ("bank", "partner"))
    return link_files(bank / FOR_UNIT, partner / FOR_UNIT, files.at / "answers", threshold=threshold, entropy=os.urandom)


def rows(path):
    with path.open(newline="") as file:
        return list(csv.reader(file))[1:]


def test_from_customers_to_common_ids(files):
    """By command: columns in any order, a typo, one shared person; each party learns ids of its own customers."""
    out = {name: str(files.at / name) for name in ("b", "p", "answers", "b.ids", "p.ids")}
    done = [
        said("vertical", "encode", "--key-file", str(files.key), str(files.bank), out["b"]),
        said("vertical", "encode", "--key-file", str(files.key), str(files.partner), out["p"]),
        said("vertical", "link", f"{out['b']}/{FOR_UNIT}", f"{out['p']}/{FOR_UNIT}", out["answers"], "--threshold", "0.75"),
        said("vertical", "rename", out["b"], f"{out['answers']}/{ANSWERS[0]}", out["b.ids"]),
        said("vertical", "rename", out["p"], f"{out['answers']}/{ANSWERS[1]}", out["p.ids"]),
    ]
    bank, partner = (dict(rows(files.at / name)) for name in ("b.ids", "p.ids"))

    assert [each.returncode for each in done] == [0] * 5, [each.stderr for each in done]
    assert done[2].stdout.startswith("1 pairs")
    assert set(bank) == {"b-1", "b-2"}
    assert bank["b-1"] == partner["p-2"]
    assert len({*bank.values(), *partner.values()}) == 3


def test_the_unit_sees_rows_and_encodings(files):
    """No customer, no identifier, names of rows and ids drawn anew each time; what is kept is for its owner's eyes."""
    first, again = encode(files, "bank"), encode(files, "bank", "again")
    for_unit = (first / FOR_UNIT).read_text()

    assert not any(word in for_unit.lower() for word in ("b-1", "b-2", "novak", "jan", "1970", "family"))
    assert not {row for row, _ in rows(first / FOR_UNIT)} & {row for row, _ in rows(again / FOR_UNIT)}
    assert [row for row, _ in rows(first / FOR_UNIT)] == sorted(row for row, _ in rows(first / FOR_UNIT))
    assert stat.S_IMODE((first / KEPT).stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ("", "no rows"), ("customer,born\n", "no rows"), ("name,born\na,1\n", "customer"), ("customer\na\n", "identifiers"),
        ("customer,born\na\n", "line 2: 1 values under 2"), ("customer,born\na,1\na,2\n", "name of its own"),
        ("customer,born\n ,1\n", "name of its own"), ("customer,born\na,--\n", "person 1 has no identifier"),
        ("customer,born,born\na,1,2\n", "different names"), ('customer,born\na,"1\n', "not a CSV file"),
    ],
)  # fmt: skip
def test_a_malformed_list_is_refused(files, wrong, why):
    """By name, and nothing is written."""
    files.bank.write_text(wrong)
    with pytest.raises(OwnFault, match=why) as refused:
        encode(files, "bank")

    assert str(files.bank) in str(refused.value)
    assert not (files.at / "bank-encoded").exists()


@pytest.mark.parametrize("wrong", ["", "ab" * 31, "xy" * 32, "ab" * 33])
def test_a_wrong_key_is_refused_unseen(files, wrong):
    """The sentence has the command that makes one, and not the key."""
    files.key.write_text(wrong)
    with pytest.raises(OwnFault, match="openssl rand -hex 32") as refused:
        encode(files, "bank")

    assert not wrong or wrong not in str(refused.value)


def test_a_key_that_others_may_read_is_refused(files):
    """As any key is."""
    files.key.chmod(0o644)
    with pytest.raises(SettingsError, match="chmod 600"):
        encode(files, "bank")


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda text: text.replace("clk-", "clk_"), "not written by"),
        (lambda text: text[:-3], "line 3: not a row's name"),
        (lambda text: text + text.splitlines()[1] + "\n", "twice"),
        (lambda text: text.splitlines()[0] + "\n", "no rows"),
        (lambda _: "row\nab\n", "not written by"),
    ],
)
def test_a_malformed_encoding_is_refused(files, spoil, why):
    """By file and line; no answer is written."""
    bank, partner = (encode(files, name) / FOR_UNIT for name in ("bank", "partner"))
    partner.write_text(spoil(partner.read_text()))
    with pytest.raises(OwnFault, match=why):
        link_files(bank, partner, files.at / "answers", threshold=0.8, entropy=os.urandom)

    assert not (files.at / "answers").exists()


@pytest.mark.parametrize("differs", ["key", "columns"])
def test_lists_of_different_keys_or_identifiers_are_not_compared(files, differs):
    """They would agree in nothing, and look like two parties who share nobody."""
    bank = encode(files, "bank") / FOR_UNIT
    if differs == "key":
        files.key.write_text("cd" * 32)
    else:
        files.partner.write_text(PARTNER.replace("born", "birth"))
    partner = encode(files, "partner") / FOR_UNIT

    with pytest.raises(OwnFault, match="different keys or identifiers"):
        link_files(bank, partner, files.at / "answers", threshold=0.8, entropy=os.urandom)


def test_an_answer_belongs_to_its_encoding(files):
    """The other party's answer, or one to an earlier encoding of the same list, would give people wrong ids; nor is a file written over."""
    assert link(files) == 1
    answers, kept = files.at / "answers", files.at / "bank-encoded"
    encode(files, "bank", "again")

    for directory, answer in ((kept, answers / ANSWERS[1]), (files.at / "again", answers / ANSWERS[0])):
        with pytest.raises(OwnFault, match="another encoding"):
            rename_file(directory, answer, files.at / "ids.csv")
    with pytest.raises(OwnFault, match="not an answer"):
        rename_file(kept, kept / FOR_UNIT, files.at / "ids.csv")
    rename_file(kept, answers / ANSWERS[0], files.at / "ids.csv")
    with pytest.raises(OwnFault, match="File exists"):
        rename_file(kept, answers / ANSWERS[0], files.at / "ids.csv")
    with pytest.raises(OwnFault, match="never over another"):
        encode(files, "bank")


def test_the_threshold_is_said_and_in_range(files):
    """One sentence at the command line."""
    bank, partner = (str(encode(files, name) / FOR_UNIT) for name in ("bank", "partner"))

    assert "from 0.6 to 1" in one_sentence(said("vertical", "link", bank, partner, str(files.at / "out"), "--threshold", "0.2"))
    assert not (files.at / "out").exists()
