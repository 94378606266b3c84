"""What a Kafka cluster lacks to be as the topology's rows say: topics, their settings, access rules.

Called by `streams.kafka_admin`, which looks and acts, and by `riverbank topics`, which shows it.
Never plans to delete a topic or to change its partitions: both would lose records or their order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Self

from streams.access import AccessRule, federation_rules, own_rules
from streams.topology import FEDERATION_TOPICS, OWN_TOPICS, Topic

_EVERY_NAME: Final = "*"


@dataclass(frozen=True)
class Wanted:
    """Topics by full name, and every access rule there shall be for them and for the groups that `rules` name."""

    topics: Mapping[str, Topic]
    rules: frozenset[AccessRule]

    @classmethod
    def federation(cls, name: str, institutions: Iterable[str]) -> Self:
        """The federation's cluster with these members."""
        return cls({row.full_name(): row for row in FEDERATION_TOPICS}, federation_rules(name, institutions))

    @classmethod
    def own(cls, institution: str) -> Self:
        """An institution's own cluster."""
        return cls({row.full_name(institution): row for row in OWN_TOPICS}, own_rules(institution))

    def __or__(self, other: Wanted) -> Wanted:
        """Both, on one cluster."""
        return Wanted({**self.topics, **other.topics}, self.rules | other.rules)

    def covers(self, rule: AccessRule) -> bool:
        """Whether a rule is about exactly one of these topics or groups, so that it is ours to remove."""
        groups = {(each.resource, each.name) for each in self.rules}
        return rule.pattern == "literal" and (
            (rule.resource == "topic" and rule.name in self.topics) or (rule.resource, rule.name) in groups
        )

    def reaches(self, rule: AccessRule) -> bool:
        """Whether a rule for many names is also about one of these."""
        names = self.topics if rule.resource == "topic" else {each.name for each in self.rules if each.resource == rule.resource}
        if rule.pattern == "prefixed":
            return any(name.startswith(rule.name) for name in names)
        return rule.name == _EVERY_NAME and bool(names)


@dataclass(frozen=True)
class FoundTopic:
    """A topic as it is."""

    partitions: int
    settings: Mapping[str, str]


@dataclass(frozen=True)
class Found:
    """A cluster as it is: those of the wanted topics that exist, and every access rule about a topic or group."""

    topics: Mapping[str, FoundTopic]
    rules: frozenset[AccessRule]


@dataclass(frozen=True)
class Change:
    """One setting of a topic."""

    topic: str
    setting: str
    old: str | None
    new: str


@dataclass(frozen=True)
class Plan:
    """What has to be done. `conflicts` and `foreign` are sentences about what nobody but a person may change."""

    create: tuple[str, ...] = ()
    change: tuple[Change, ...] = ()
    allow: tuple[AccessRule, ...] = ()
    remove: tuple[AccessRule, ...] = ()
    conflicts: tuple[str, ...] = ()
    foreign: tuple[str, ...] = field(default=())

    @property
    def empty(self) -> bool:
        """Whether there is nothing to do."""
        return not (self.create or self.change or self.allow or self.remove)

    def lines(self) -> Iterator[str]:
        """One for each difference: + is made, ~ is changed, - is removed, ! is for a person."""
        yield from (f"! {sentence}" for sentence in (*self.conflicts, *self.foreign))
        yield from (f"+ topic {name}" for name in self.create)
        yield from (f"~ topic {change.topic}: {change.setting} {change.old} -> {change.new}" for change in self.change)
        yield from (f"- rule: {rule}" for rule in self.remove)
        yield from (f"+ rule: {rule}" for rule in self.allow)

    def as_json(self) -> dict[str, Any]:
        """The same for programs."""
        return {
            "create": list(self.create),
            "change": [[change.topic, change.setting, change.old, change.new] for change in self.change],
            "allow": list(map(str, self.allow)),
            "remove": list(map(str, self.remove)),
            "conflicts": list(self.conflicts),
            "foreign": list(self.foreign),
        }


def plan_of(wanted: Wanted, found: Found) -> Plan:
    """What leads from `found` to `wanted`."""
    existing = {name: row for name, row in wanted.topics.items() if name in found.topics}
    return Plan(
        create=tuple(name for name in wanted.topics if name not in found.topics),
        change=tuple(
            Change(name, setting, found.topics[name].settings.get(setting), value)
            for name, row in existing.items()
            for setting, value in row.broker_settings().items()
            if found.topics[name].settings.get(setting) != value
        ),
        allow=tuple(sorted(wanted.rules - found.rules)),
        remove=tuple(sorted(rule for rule in found.rules - wanted.rules if wanted.covers(rule))),
        conflicts=tuple(
            f"topic {name} has {found.topics[name].partitions} partitions instead of {row.partitions}"
            for name, row in existing.items()
            if found.topics[name].partitions != row.partitions
        ),
        foreign=tuple(
            f"a rule that is not ours reaches our names: {rule}"
            for rule in sorted(found.rules)
            if not wanted.covers(rule) and wanted.reaches(rule)
        ),
    )
