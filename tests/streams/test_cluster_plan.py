"""What a cluster lacks is found, each difference once, and nothing else is touched."""

from __future__ import annotations

from dataclasses import replace

import pytest

from streams.access import AccessRule, federation_rules, own_rules
from streams.cluster_plan import Change, Found, FoundTopic, Plan, Wanted, plan_of
from streams.topology import ROUNDS, STATUS

WANTED = Wanted.federation("f", ["north-bank", "south-bank"])
AS_WANTED = Found({name: FoundTopic(row.partitions, row.broker_settings()) for name, row in WANTED.topics.items()}, WANTED.rules)


def test_an_empty_cluster_lacks_everything():
    """And the second look finds nothing left to do."""
    plan = plan_of(WANTED, Found({}, frozenset()))

    assert plan.create == tuple(WANTED.topics)
    assert frozenset(plan.allow) == WANTED.rules
    assert not plan.remove
    assert plan_of(WANTED, AS_WANTED) == Plan()
    assert plan_of(WANTED, AS_WANTED).empty


def test_who_is_no_member_any_more_loses_every_right():
    """And nobody else loses one."""
    fewer = Wanted.federation("f", ["south-bank"])
    plan = plan_of(fewer, AS_WANTED)

    assert {rule.principal for rule in plan.remove} == {"User:north-bank.institution", "User:north-bank.portal"}
    assert frozenset(plan.remove) == WANTED.rules - fewer.rules
    assert not plan.allow


def test_what_else_lies_on_the_cluster_is_left_alone():
    """Rules about other names stay: another federation's, an institution's own, somebody's private ones."""
    others = own_rules("north-bank") | {
        AccessRule("topic", "elsewhere", "User:someone", "read"),
        AccessRule("group", "elsewhere", "User:someone", "read"),
        AccessRule("cluster", "kafka-cluster", "User:someone", "alter"),
    }

    assert plan_of(WANTED, replace(AS_WANTED, rules=AS_WANTED.rules | others)) == Plan()


@pytest.mark.parametrize(
    "rule",
    [
        AccessRule("topic", ROUNDS.name, "User:north-bank.portal", "write"),
        AccessRule("topic", ROUNDS.name, "User:*", "read"),
        AccessRule("topic", ROUNDS.name, "User:north-bank.institution", "all"),
        AccessRule("topic", ROUNDS.name, "User:north-bank.institution", "read", "deny"),
        AccessRule("topic", ROUNDS.name, "User:north-bank.institution", "read", host="10.0.0.1"),
        AccessRule("group", "aggregator.f", "User:north-bank.institution", "read"),
    ],
)
def test_any_other_rule_about_our_names_goes(rule: AccessRule):
    """Whoever it allows or denies what."""
    assert plan_of(WANTED, replace(AS_WANTED, rules=AS_WANTED.rules | {rule})) == Plan(remove=(rule,))


@pytest.mark.parametrize(
    "rule",
    [
        AccessRule("topic", "*", "User:backup", "read"),
        AccessRule("topic", "roun", "User:backup", "read", pattern="prefixed"),
        AccessRule("group", "*", "User:backup", "read"),
    ],
)
def test_a_rule_for_many_names_is_shown_and_left_to_a_person(rule: AccessRule):
    """It may serve others too."""
    plan = plan_of(WANTED, replace(AS_WANTED, rules=AS_WANTED.rules | {rule}))

    assert plan.empty
    assert list(plan.lines()) == [f"! a rule that is not ours reaches our names: {rule}"]


def test_settings_are_changed_and_partitions_never():
    """Other partitions would break the order of a head's log: that is for a person."""
    row = FoundTopic(ROUNDS.partitions + 1, ROUNDS.broker_settings() | {"retention.ms": "1", "somebody.else's": "setting"})
    plan = plan_of(WANTED, replace(AS_WANTED, topics={**AS_WANTED.topics, ROUNDS.name: row}))

    assert plan == Plan(
        change=(Change(ROUNDS.name, "retention.ms", "1", ROUNDS.broker_settings()["retention.ms"]),),
        conflicts=(f"topic {ROUNDS.name} has {ROUNDS.partitions + 1} partitions instead of {ROUNDS.partitions}",),
    )


def test_the_plan_is_read_line_by_line():
    """What needs a person first, then what is made, changed, taken away and allowed."""
    rules = (AccessRule("topic", "t", "User:a.portal", "read"), AccessRule("topic", "t", "User:b.portal", "write", host="h"))
    plan = Plan(("t",), (Change("s", "retention.ms", "1", "2"),), (rules[0],), (rules[1],), ("topic u is odd",))

    assert list(plan.lines()) == [
        "! topic u is odd",
        "+ topic t",
        "~ topic s: retention.ms 1 -> 2",
        "- rule: b.portal allow write topic t from h",
        "+ rule: a.portal allow read topic t",
    ]
    assert plan.as_json()["change"] == [["s", "retention.ms", "1", "2"]]


def test_two_clusters_on_one_broker():
    """The rules of both, and removing one's member leaves the other's rules."""
    both = WANTED | Wanted.own("north-bank")

    assert both.rules == federation_rules("f", ["north-bank", "south-bank"]) | own_rules("north-bank")
    assert STATUS.name in both.topics
    assert "north-bank.feedback.v1" in both.topics
