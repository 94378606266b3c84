"""The evaluation is the protocol, is repeatable, and says what it cannot do."""

from __future__ import annotations

import asyncio
import json
import os
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from federation.errors import OwnFault
from riverbank.evaluation import command, report
from riverbank.evaluation.course import Course, run
from riverbank.evaluation.passage import Cadence
from riverbank.evaluation.sets import SETS, data_set
from riverbank.evaluation.variants import Variant, variants

DATA = Path(__file__).parents[3].parent / "shared" / "data"


@pytest.fixture
def data() -> Path:
    """The folder of the real files."""
    if not DATA.is_dir():
        if os.environ.get("CI"):
            pytest.fail(f"the data sets must be at {DATA} in CI")
        pytest.skip(f"the data sets are not at {DATA}")
    return DATA


def _course(name: str, events: int, *, at_once: bool = True) -> Course:
    found = data_set(name)
    return Course(data_set=found, opened=found.open(Path(), 1), events=events, labels_at_once=at_once, seed=1)


def _ran(course: Course, variant: str, every: str):
    return asyncio.run(run(course, Variant.parsed(variant), Cadence.parsed(every)))


def _said(ran):
    return {name: {kind: judgments._said[kind].tolist() for kind in judgments.names()} for name, judgments in ran.judgments.items()}


@pytest.mark.parametrize(("name", "events", "every"), [("generator-credit", 1500, "150"), ("generator-products", 800, "200")])
def test_sums_in_the_open_are_the_masked_ones(name, events, every):
    """Rounds without masks give the models of the whole protocol, bit for bit, noise and clipping included, and so every prediction."""
    course = _course(name, events)
    plain, masked = (_ran(course, each, every) for each in ("federated-noise=0.2", "federated-masked-noise=0.2"))

    assert (plain.rounds, plain.abandoned) == (masked.rounds, masked.abandoned)
    assert plain.rounds - plain.abandoned >= 3
    assert plain.model_digest == masked.model_digest
    assert _said(plain) == _said(masked)
    assert plain.bytes_sent is None
    assert masked.bytes_sent > masked.rounds * 1000


def test_a_promise_is_kept_and_what_it_cost_is_said():
    """Under epsilon 8 no customer has paid more; masks change neither the cost nor the model; without noise nothing is promised."""
    course = _course("generator-credit", 900)
    plain, masked, free = (_ran(course, each, "150") for each in ("federated-dp=8", "federated-masked-dp=8", "federated-plain"))

    assert plain.privacy == masked.privacy
    assert plain.model_digest == masked.model_digest
    assert plain.privacy.epsilon_spent == plain.privacy.epsilon == pytest.approx(8.0)
    assert plain.privacy.delta == 1e-6
    assert free.privacy is None


def test_rounds_without_enough_examples_make_no_model_either_way():
    """The two ways agree on the rounds that end without a model, too: labels come late, so the first rounds have none to speak of."""
    course = _course("generator-credit", 3000, at_once=False)
    plain, masked = (_ran(course, each, "300") for each in ("federated-plain", "federated-masked"))

    assert 0 < plain.abandoned == masked.abandoned < plain.rounds == masked.rounds
    assert _said(plain) == _said(masked)


def test_again_is_the_same():
    """The same command gives the same JSON, to the last byte; another seed gives other figures."""
    asked = command.Asked(data=None, sets="generator-fraud", events=600, round_every="150", labels_at_once=True)
    first, again, other = (command.as_json(command.evaluate(each, lambda _: None)) for each in (asked, asked, replace(asked, seed=2)))

    assert first == again
    assert json.loads(first)[0]["rows"][0]["means"] != json.loads(other)[0]["rows"][0]["means"]


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (command.Asked(data=None, sets="sba-31"), "--data"),
        (command.Asked(data=None, sets="mnist"), "there is no data set mnist"),
        (command.Asked(data=Path("/nowhere"), sets="handbook-5"), "/nowhere"),
        (command.Asked(data=None, sets="generator-credit", variants="federated"), "is no variant"),
        (command.Asked(data=None, sets="generator-credit", variants="local,local"), "twice"),
        (command.Asked(data=None, sets="generator-credit", variants="federated-noise=1e999"), "is no variant"),
        (command.Asked(data=None, sets="generator-credit", variants="federated-dp=0"), "above 0"),
        (command.Asked(data=None, sets="generator-credit", variants="federated-dp=1.2.3"), "above 0"),
    ],
)
def test_what_cannot_be_done_is_said(asked, said):
    """In one sentence that names it."""
    with pytest.raises(OwnFault, match=said):
        command.evaluate(asked, lambda _: None)


def test_every_set_without_data_is_gone_through():
    """All generated sets under all kinds of variants; products have no plain River row."""
    asked = command.Asked(data=None, variants="river-pooled,local,federated-plain,pooled", events=400, round_every="100")
    generated = [name for name, each in SETS.items() if not each.from_files and not name.endswith("attack")]
    asked = replace(asked, sets=",".join(generated))
    heard: list[str] = []
    results = command.evaluate(asked, heard.append)

    assert [result.data_set for result in results] == generated
    assert [row.variant for row in results[0].rows] == ["river-pooled", "local", "federated-plain", "federated-plain", "pooled"]
    assert [row.model for row in results[0].rows] == ["river", "local", "federated", "served", "local"]
    assert "generator-products: river-pooled is left out, it scores risks only" in heard


def test_shared_out_to_processes_is_the_same():
    """Who computes a variant makes no difference."""
    asked = command.Asked(data=None, sets="generator-credit", events=600, round_every="100,200", labels_at_once=True)
    alone, shared = (command.evaluate(each, lambda _: None) for each in (asked, replace(asked, jobs=2)))

    assert alone == shared
    assert [row.round_every for row in alone[0].rows if row.variant == "federated-plain"] == ["100", "100", "200", "200"]


def test_the_report_stands_alone_and_again_is_the_same(tmp_path):
    """JSON, Markdown, a page that refers to nothing outside of its folder, and pictures; twice the same bytes."""
    asked = command.Asked(
        data=None, sets="generator-credit", variants="local,federated-masked,pooled", events=900, round_every="150,300", labels_at_once=True
    )
    results = command.evaluate(asked, lambda _: None)
    first, again = (report.write(results, tmp_path / name) for name in ("first", "again"))
    page = (tmp_path / "first" / "report.html").read_text()

    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in again]
    assert json.loads((tmp_path / "first" / "results.json").read_text())[0]["data_set"] == "generator-credit"
    assert "| federated-masked served, every 150 |" in (tmp_path / "first" / "results.md").read_text()
    tables = [line for line in (tmp_path / "first" / "results.md").read_text().splitlines() if "|" in line]
    assert all(line.startswith("|") and line.endswith("|") for line in tables)
    assert page.count("<svg") == 3
    links = set(re.findall(r'(?:src|href)="([^"#][^"]*)"', page))
    assert (
        links
        == {path.name for path in first if path.suffix == ".png"}
        == {f"generator-credit-{n}.png" for n in ("institutions", "course", "communication")}
    )


@pytest.mark.shared
def test_small_lenders_gain_from_large_ones(data):
    """Loans of eleven lenders, the first 2,500: together, in masked rounds, they rank them better than each alone, and pooled is better yet."""
    asked = command.Asked(
        data=data, sets="sba-10-time", variants="local,federated-masked,pooled", events=2500, round_every="50", labels_at_once=True
    )
    (result,) = command.evaluate(asked, lambda _: None)
    auc = {(row.variant, row.model): row.means["auc"] for row in result.rows}

    assert auc["federated-masked", "federated"] > auc["local", "local"] + 0.03
    assert auc["pooled", "local"] > auc["local", "local"] + 0.03


def test_variants_are_parsed():
    """Masks and noise are read from the name."""
    plain, masked, noised = variants("federated-plain, federated-masked,federated-masked-noise=0.3")

    assert (plain.masked, masked.masked, noised.masked) == (False, True, True)
    assert (plain.noise_multiplier, noised.noise_multiplier) == (0.0, 0.3)
    assert [each.epsilon for each in variants("federated-dp=8,federated-masked-dp=0.5,federated-plain")] == [8.0, 0.5, None]


def test_one_group_without_a_poisoner_is_the_plain_round():
    """The mean over one group is the mean over all, up to the last bit of its division; with a poisoner it is another model."""
    course = _course("generator-credit", 900)
    plain, one, poisoned = (
        _ran(course, each, "150") for each in ("federated-plain", "federated-plain-groups=1-mean", "federated-plain-poisoned=1")
    )

    assert plain.rounds - plain.abandoned >= 3
    for name, said in _said(plain).items():
        assert all(np.allclose(said[kind], _said(one)[name][kind], atol=1e-9) for kind in said)
    assert any(not np.allclose(said["federated"], _said(poisoned)[name]["federated"], atol=1e-3) for name, said in _said(plain).items())


def test_variants_in_groups_are_named():
    """Groups, rule, trim and poisoners; never under masks, and no trim without a trimmed mean."""
    median, trimmed, alone = variants(
        "federated-noise=0.3-groups=5-median,federated-plain-groups=10-trimmed=2-poisoned=1,federated-plain-poisoned=3"
    )

    assert (median.grouped.groups, median.grouped.rule.value, median.noise_multiplier) == (5, "median", 0.3)
    assert (trimmed.grouped.trim, trimmed.grouped.poisoned) == (2, 1)
    assert (alone.grouped.groups, alone.grouped.poisoned) == (1, 3)
    for wrong in (
        "federated-masked-groups=3-median",
        "federated-plain-groups=0-mean",
        "federated-plain-groups=5-trimmed=0",
        "federated-groups=3",
    ):
        with pytest.raises(OwnFault):
            variants(wrong)
