"""The measurement of secure aggregation still measures: rounds of both kinds, and where the time goes."""

from __future__ import annotations

from benchmarks.run import secagg_text
from benchmarks.secagg import cell


def test_a_small_cell():
    """With and without a dropout, one row each, and a table of them: the parts are all there is."""
    rows = [cell(4, 50, dropout, 1, None) for dropout in (0.0, 0.3)]

    assert [row["dropped"] for row in rows] == [0, 1]
    for row in rows:
        parts = ("protocol", "signatures", "encoding", "quantising")
        assert abs(row["round"]["client_ms"]["min"] - sum(row["round"][f"client_{part}_ms"]["min"] for part in parts)) < 0.01
    assert secagg_text(rows).count("| not measured |") == 2
