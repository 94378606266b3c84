"""`riverbank topics`: shows first, does it once, takes rights away, and never takes records away. On a real broker with access lists."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from riverbank.provisioning.federations import write_settings
from streams.access import AccessRule, Principal
from streams.cluster_plan import Plan, Wanted
from streams.kafka import KafkaLog
from streams.kafka_admin import KafkaAdmin
from streams.ports import LogRefused, Outgoing, Position
from streams.topology import FEEDBACK, ROUNDS, Role
from tests.pki import OPERATOR
from tests.streams.secured import ALLOWED, TOPIC_DENIED, Secured

pytestmark = pytest.mark.broker


def configured(secured: Secured, directory: Path, **cluster: object) -> Path:
    tls = secured.pki.files(OPERATOR).model_dump(mode="json", exclude_none=True)
    return write_settings(
        directory / "topics.toml",
        {"cluster": {"bootstrap": secured.bootstrap, "tls": tls, "replication": 1, "operator": OPERATOR.party, **cluster}},
    )


def riverbank(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "riverbank", "topics", *arguments], capture_output=True, text=True, timeout=60, check=False
    )


def test_shown_then_done_then_nothing_is_left(secured: Secured, tmp_path: Path):
    """The dry run changes nothing, the real one does what was shown, the second one has nothing to do."""
    config = str(configured(secured, tmp_path, institutions=["ash-bank"]))
    planned, tried, done, again = (
        riverbank("plan", "--config", config),
        riverbank("apply", "--dry-run", "--json", "--config", config),
        riverbank("apply", "--config", config),
        riverbank("apply", "--config", config),
    )

    assert [each.returncode for each in (planned, tried, done, again)] == [0] * 4, done.stderr
    assert planned.stdout == done.stdout
    assert "+ topic ash-bank.feedback.v1\n" in done.stdout
    assert "+ rule: ash-bank.portal allow write topic ash-bank.feedback.v1\n" in done.stdout
    assert len(json.loads(tried.stdout)["create"]) == len(Wanted.own("ash-bank").topics)
    assert again.stdout == "nothing to do\n"


def test_a_certificate_that_is_no_operators(secured: Secured, tmp_path: Path):
    """One sentence with the file, and nothing is asked of the broker."""
    tls = secured.pki.files(Principal("ash-bank", Role.PORTAL)).model_dump(mode="json", exclude_none=True)
    done = riverbank("apply", "--config", str(configured(secured, tmp_path, institutions=["ash-bank"], tls=tls)))

    assert done.returncode == 2
    assert done.stderr.startswith(f"riverbank: {tls['cert_file']}: is CN=ash-bank,OU=portal,O=pki, not admin.operator's")


async def test_somebody_else_with_an_operators_role(secured: Secured):
    """The broker's configuration says who is above the access lists; a role alone is nothing."""
    stranger = Principal("stranger", Role.OPERATOR)
    with pytest.raises(LogRefused, match=r"access lists cannot be read|refuses stranger\.operator"):
        async with KafkaAdmin.connected(secured.bootstrap, secured.pki.tls(stranger)) as admin:
            await admin.plan(Wanted.own("ash-bank"))


async def test_a_member_that_leaves_loses_its_rights_and_no_record(secured: Secured):
    """Its connection is of no use from then on; the others go on."""
    birch, cherry = (Principal(name, Role.INSTITUTION) for name in ("birch-bank", "cherry-bank"))
    await secured.apply(Wanted.federation("leaving", ["birch-bank", "cherry-bank"]))
    async with secured.speaking_as(birch) as hers, secured.speaking_as(cherry) as its:
        assert [await hers.write(ROUNDS.name), await its.write(ROUNDS.name)] == [ALLOWED] * 2
        plan = await secured.apply(Wanted.federation("leaving", ["cherry-bank"]))

        assert {rule.principal for rule in plan.remove} == {"User:birch-bank.institution", "User:birch-bank.portal"}
        assert [await hers.write(ROUNDS.name), await hers.read(ROUNDS.name)] == [TOPIC_DENIED] * 2
        assert [await its.write(ROUNDS.name), await its.read(ROUNDS.name)] == [ALLOWED] * 2
        assert plan.create == ()


async def test_only_the_settings_that_differ_are_changed(secured: Secured):
    """What somebody else has set for the topic stays."""
    wanted = Wanted.own("dogwood-bank")
    name = FEEDBACK.full_name("dogwood-bank")
    odd = {**wanted.topics, name: replace(FEEDBACK, keep_hours=1)}
    await secured.apply(replace(wanted, topics=odd))
    plan = await secured.apply(wanted)

    assert {change.setting for change in plan.change} == {"retention.ms", "segment.ms"}
    assert await secured.plan(wanted) == Plan()


async def test_other_partitions_are_refused_and_nothing_is_done(secured: Secured):
    """A person has to decide what becomes of the records."""
    wanted = Wanted.own("elder-bank")
    name = FEEDBACK.full_name("elder-bank")
    await secured.apply(replace(wanted, topics={name: replace(FEEDBACK, partitions=2)}, rules=frozenset()))

    with pytest.raises(LogRefused, match=f"topic {name} has 2 partitions instead of 1"):
        await secured.apply(wanted)
    assert len((await secured.plan(wanted)).create) == len(wanted.topics) - 1


async def test_a_foreign_rule_is_named(secured: Secured):
    """For a person to look at; apply leaves it."""
    rule = AccessRule("topic", "fir-bank.", "User:backup", "read", pattern="prefixed")
    wanted = Wanted.own("fir-bank")
    async with KafkaAdmin.connected(secured.bootstrap, secured.pki.tls(OPERATOR)) as admin:
        await admin._allow([rule])

    assert any(str(rule) in line for line in (await secured.apply(wanted)).foreign)
    assert any(str(rule) in line for line in (await secured.plan(wanted)).foreign)


async def test_a_denied_principal_hears_what_it_may_not(secured: Secured):
    """Through the log's own door: who asks, what for, and which topic."""
    await secured.apply(Wanted.federation("denied", ["gorse-bank"]) | Wanted.own("gorse-bank"))
    portal = KafkaLog(secured.bootstrap, tls=secured.pki.tls(Principal("gorse-bank", Role.PORTAL)))
    console = KafkaLog(secured.bootstrap, tls=secured.pki.tls(Principal("console", Role.CONSOLE)))
    try:
        with pytest.raises(LogRefused, match=r"refuses gorse-bank\.portal.*TopicAuthorizationFailed.*rounds\.v1"):
            await portal.append([Outgoing(ROUNDS.name, 0, b"k", b"v")])
        with pytest.raises(LogRefused, match=r"refuses console\.console.*ClusterAuthorizationFailed"):
            await console.append([Outgoing(ROUNDS.name, 0, b"k", b"v")])
        with pytest.raises(LogRefused, match=r"no partition gorse-bank\.feedback\.v1/0 that console\.console may see"):
            await console.reader([Position(FEEDBACK.full_name("gorse-bank"), 0, 0)])
        assert list(await portal.append([Outgoing(FEEDBACK.full_name("gorse-bank"), 0, b"k", b"v")])) == [0]
    finally:
        await portal.close()
        await console.close()
