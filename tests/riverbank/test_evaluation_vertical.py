"""Columns at two parties: what comes of the real files, and that the same command gives the same figures."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from federation.errors import OwnFault
from riverbank.cli import app
from riverbank.evaluation.vertical import as_dicts, as_rows, evaluate

DATA = Path(__file__).parents[3] / "shared" / "data"


def test_an_unknown_set_is_refused():
    """With the names of those there are; so is a folder that is not there."""
    with pytest.raises(OwnFault, match="only taiwan, berka"):
        evaluate(Path(), ["sba"], seed=1, encrypted=False, said=lambda _text: None)
    with pytest.raises(OwnFault, match="there is no folder"):
        evaluate(Path("nowhere"), ["berka"], seed=1, encrypted=False, said=lambda _text: None)


@pytest.mark.shared
@pytest.mark.skipif(not DATA.is_dir(), reason="the data sets are not beside this checkout")
def test_apart_they_are_as_good_as_on_one_table():
    """Berka: within .005 AUC of the joined table, well above the bank alone, and the same to the last digit when run again."""
    arguments = ["evaluate", "--vertical", "--data", str(DATA), "--set", "berka", "--json"]
    told = CliRunner().invoke(app, arguments)
    again = evaluate(DATA, ["berka"], seed=1, encrypted=False, said=lambda _text: None)

    assert told.exit_code == 0, told.output
    (result,) = json.loads(told.stdout)
    assert abs(result["to_joined"]) < 0.005
    assert result["gain"] > 0.05
    assert json.loads(json.dumps(as_dicts(again))) == [result]
    assert as_rows(again)[0]["encrypted"] == "not run"
