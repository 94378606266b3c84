"""An evidence pack convinces whoever has only the CA's key and Python, and nobody once anything in it was changed.

Run with the writer's and the witnesses' own code, a log in memory, and the shipped verifier in a process of its own.
Never lets the verifier import anything of ours."""

from __future__ import annotations

import asyncio
import copy
import json
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from audit.actions import action_of
from audit.ledger import Ledger
from audit.proofs import Prover
from audit.signing import cosigned_note, open_ledger
from audit.sources import Actions, Exchanges
from audit.writer import Writer
from federation import messages as m
from federation.errors import OwnFault
from federation.ids import ZERO_DIGEST, digest_of
from riverbank.evidence import decision as of_decision
from riverbank.evidence import release as of_release
from riverbank.evidence.pack import HTML_FILE, JSON_FILE, VERIFIER, contents, write_pack
from streams.codec import encode
from streams.courier import key_of
from streams.memory import MemoryLog
from streams.ports import Outgoing
from streams.topology import ACTIONS, ACTIONS_LOGGED, partitions_of
from tests.audit.test_witness import BANKS, FEDERATION, NOW_MS, Town
from tests.audit.town import until
from tests.credentials import Credentials

CREDIT = m.HeadName.CREDIT
CA_KEY = Credentials(FEDERATION, BANKS).ca_verify_key
_OPENED = {"head": CREDIT, "group": 0, "epoch": 1, "round": 5}


def _round(version: int) -> list[tuple[str, m.Message]]:
    """Who says what in a round that releases this version; enough of it for a pack."""
    parameters = m.RoundParameters(
        dimension=4, layout_digest=ZERO_DIGEST, clip_norm=0.5, clip_quanta=256, count_quanta=1, noise_sigma=3.5, participations_max=1,
        period_days=365, delta=1e-6, chunk_length=4,
    )  # fmt: skip
    roster = m.EpochRoster(
        head=CREDIT, group=0, epoch=1, members=tuple(m.RosterMember(institution=bank, keys_digest=digest_of(bank.encode())) for bank in BANKS),
        threshold=3, rounds=8, first_round=1, parameters=parameters,
    )  # fmt: skip
    opened = m.RoundOpened(
        **_OPENED, ready_digest=ZERO_DIGEST, model_version=version - 1, model_digest=ZERO_DIGEST, opened_at_ms=NOW_MS, masked_deadline_ms=NOW_MS,
        unmask_deadline_ms=NOW_MS, survivors_min=3,
    )  # fmt: skip
    survivors = tuple(m.Survivor(institution=bank, update_digest=digest_of(bank.encode())) for bank in BANKS)
    named = m.SurvivorsNamed(**_OPENED, ready_digest=ZERO_DIGEST, survivors=survivors)
    published = m.ModelPublished(
        **_OPENED, version=version, model_digest=digest_of(b"model"), base_digest=digest_of(b"base"), contributors=BANKS, customers=4_711,
        survivors_digest=ZERO_DIGEST, sum_digest=ZERO_DIGEST, noise_sigma=3.5, epsilon=0.75, published_at_ms=NOW_MS + 2_000,
    )  # fmt: skip
    return [("aggregator", each) for each in (roster, opened, named, published)]


async def _write(town: Town, ledger_dir: Path, entries: int) -> None:
    ledger, stop = open_ledger(ledger_dir), asyncio.Event()
    writer = Writer(town.log, ledger, None, Exchanges(town.parties), town.checkpoints(ledger_dir), flush_ms=0)
    running = asyncio.create_task(writer.run(stop))
    await until(lambda: ledger.size >= entries)
    stop.set()
    await running
    ledger.close()


async def _built(directory: Path) -> dict[str, Any]:
    """The pack of a release that three institutions witnessed; the ledger stays in `directory`/ledger."""
    town, ledger_dir = Town(directory), directory / "ledger"
    await town.credentials.publish(town.log)
    await town.parties.catch_up()
    said = [*_round(31), *_round(32)]
    for sender, message in said[:5]:  # Of the second round only the roster: 32 is not released.
        courier = town.credentials.courier(town.log, sender)
        await courier.send(courier.prepare([message], NOW_MS))
    await _write(town, ledger_dir, 5)
    for bank in BANKS:
        async with town.witness(bank) as witness:
            await witness.step(0)
    stop = asyncio.Event()
    collecting = asyncio.create_task(town.checkpoints(ledger_dir).collect(stop))
    await until(lambda: (cosigned_note(ledger_dir) or "").count("\u2014") == 1 + len(BANKS))
    stop.set()
    await collecting
    prover = Prover(ledger_dir)
    facts, exhibits, parties = await of_release.gathered(town.log, town.parties, prover, CREDIT, 31)
    with pytest.raises(OwnFault, match="no release credit:32"):
        await of_release.gathered(town.log, town.parties, prover, CREDIT, 32)
    made = contents("release credit:31", FEDERATION, facts, exhibits, prover, parties, of_release.KINDS)
    prover.close()
    return json.loads(json.dumps(made))  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("evidence")


@pytest.fixture(scope="module")
def built(directory: Path) -> dict[str, Any]:
    return asyncio.run(_built(directory))


@pytest.fixture
def pack(built: dict[str, Any]) -> dict[str, Any]:
    return copy.deepcopy(built)


def _checked(folder: Path, pack: dict[str, Any], *arguments: str) -> tuple[int, str]:
    """The verifier's exit code and words, run where nothing of ours can be imported."""
    folder.mkdir(exist_ok=True)
    (folder / JSON_FILE).write_text(json.dumps(pack))
    shutil.copyfile(Path(of_release.__file__).with_name(VERIFIER), folder / VERIFIER)
    argv = [
        sys.executable,
        "-I",
        "-S",
        VERIFIER,
        JSON_FILE,
        *(["--ca-key", CA_KEY.hex()] if "--ca-key" not in arguments else []),
        *arguments,
    ]
    done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout + done.stderr


def test_a_release_is_proved_to_whoever_has_the_ca_key(pack: dict[str, Any], tmp_path: Path):
    facts = pack["facts"]
    assert (facts["contributors"], facts["thresholds"], facts["epsilon"], facts["customers"]) == (list(BANKS), [3], 0.75, 4_711)
    assert (facts["opened_at_ms"], facts["published_at_ms"], facts["delta"]) == (NOW_MS, NOW_MS + 2_000, 1e-6)
    status, said = _checked(tmp_path / "pack", pack, "--witnesses", "3")
    assert (status, said) == (
        0,
        "release credit:31: 5 records, each in the audit's tree of 5 entries\ncosigned by east, north, south\n",
    )


_CHANGES: dict[str, Callable[[dict[str, Any]], Any]] = {
    "epsilon is misstated": lambda pack: pack["facts"].update(epsilon=0.5),
    "contributors are misstated": lambda pack: pack["facts"]["contributors"].pop(),
    "threshold is misstated": lambda pack: pack["facts"].update(thresholds=[2]),
    "says something else than the pack": lambda pack: pack["exhibits"][3]["says"].update(customers=1),
    "is not under the checkpoint": lambda pack: pack["exhibits"][0]["entry"].update(path=pack["exhibits"][1]["entry"]["path"]),
    "the checkpoint is misstated": lambda pack: pack["checkpoint"].update(root="00" * 32),
    "signature on the checkpoint does not hold": lambda pack: pack["checkpoint"].update(note=pack["checkpoint"]["note"].replace("\n5\n", "\n6\n"), size=6),
    "the CA did not certify": lambda pack: pack["parties"][0].update(serial=2),
    "certified for another federation": lambda pack: pack.update(federation="epsilon"),
    "has another fingerprint": lambda pack: pack["schemas"].update({"0" * 16: '"string"'}),
    "cannot be read": lambda pack: pack.pop("facts"),
}  # fmt: skip


@pytest.mark.parametrize("complaint", _CHANGES)
def test_a_changed_pack_convinces_nobody(pack: dict[str, Any], tmp_path: Path, complaint: str):
    _CHANGES[complaint](pack)
    status, said = _checked(tmp_path / "pack", pack)
    assert status == 1
    assert complaint in said


def test_too_few_witnesses_and_another_ca_are_said(pack: dict[str, Any], tmp_path: Path):
    assert _checked(tmp_path / "pack", pack, "--witnesses", "4") == (
        1,
        "WRONG: 3 witnesses cosigned, 4 were asked for\n",
    )
    status, said = _checked(tmp_path / "pack", pack, "--ca-key", "00" * 31 + "01")
    assert (status, "the CA did not certify" in said) == (1, True)


def test_any_changed_character_of_what_is_signed_is_found(pack: dict[str, Any], tmp_path: Path):
    """Random changes inside records, leaves, paths and certificates; the figures and signatures are checked, whichever it is."""
    draw = random.Random(8)
    places = [
        *(((exhibit["entry"], name), each) for exhibit in pack["exhibits"] for name in ("leaf_data",) for each in [exhibit["entry"][name]]),
        *(((exhibit, "value"), exhibit["value"]) for exhibit in pack["exhibits"]),
        *(((party, name), party[name]) for party in pack["parties"] for name in ("verify_key", "certificate")),
    ]
    for (owner, name), text in draw.sample(places, 6):
        at = draw.randrange(len(text) - 4)
        owner[name] = text[:at] + ("1" if text[at] != "1" else "2") + text[at + 1 :]
        status, said = _checked(tmp_path / "pack", pack)
        owner[name] = text
        assert (status, said.startswith("WRONG: ")) == (1, True), (name, at)


def test_the_folder_has_everything(pack: dict[str, Any], tmp_path: Path):
    written = write_pack(tmp_path / "out", pack)

    assert {path.name for path in written} >= {JSON_FILE, HTML_FILE, VERIFIER}
    page = (tmp_path / "out" / HTML_FILE).read_text()
    for shown in ("release credit:31", "0.75", "north", pack["checkpoint"]["note"].splitlines()[2].replace("+", "&#43;")):
        assert shown in page or shown.replace("&#43;", "+") in page
    for path in written:
        assert path.stat().st_size > 500
    with pytest.raises(FileExistsError):
        write_pack(tmp_path / "out", pack)


async def test_a_decision_is_proved_under_its_own_ledgers_root(tmp_path: Path):
    """Every action about the case, and no other's; the pack says that nobody signed this ledger."""
    log = MemoryLog(partitions_of((ACTIONS, ACTIONS_LOGGED), "north"), now_ms=lambda: NOW_MS)
    said = [
        action_of(m.ActionKind.CASE, action, actor="u-1", subject="ab" * 32, detail={"case": case, "model": "credit:31"}, key=f"{number}", process="portal", at_ms=NOW_MS)
        for number, (action, case) in enumerate([("claimed", "c-1"), ("claimed", "c-2"), ("decided", "c-1")])
    ]  # fmt: skip
    await log.append([Outgoing(ACTIONS.full_name("north"), 0, key_of(ACTIONS, each), encode(each)) for each in said])
    ledger, stop = Ledger.open(tmp_path / "own"), asyncio.Event()
    running = asyncio.create_task(Writer(log, ledger, None, Actions("north", log), flush_ms=0).run(stop))
    await until(lambda: ledger.size == 3)
    stop.set()
    await running
    ledger.close()

    prover = Prover(tmp_path / "own")
    facts, exhibits = of_decision.gathered(prover, "c-1")
    assert facts["actions"] == ["case claimed by u-1", "case decided by u-1"]
    assert [exhibit.proof.sequence for exhibit in exhibits] == [0, 2]
    by_id, _ = of_decision.gathered(prover, said[1].entry_id.hex())
    assert by_id["detail"] == {"case": "c-2", "model": "credit:31"}
    with pytest.raises(OwnFault, match="no entry under"):
        of_decision.gathered(prover, "c-3")
    pack = json.loads(json.dumps(contents("decision c-1", FEDERATION, facts, exhibits, prover, (), of_decision.KINDS)))
    prover.close()
    status, words = _checked(tmp_path / "pack", pack)
    assert (status, words.splitlines()[1]) == (0, "this ledger is signed by nobody: compare its root with its owner's")
    pack["exhibits"][0]["says"]["actor"] = "u-2"
    assert _checked(tmp_path / "pack", pack)[0] == 1


def test_what_is_under_no_checkpoint_is_not_proved(pack: dict[str, Any], directory: Path):
    prover = Prover(directory / "ledger")
    with pytest.raises(OwnFault, match="under no checkpoint yet"):
        prover.entry(pack["checkpoint"]["size"])
    prover.close()
