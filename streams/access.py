"""Who may do what on a Kafka cluster: access rules made from the rows of `streams.topology`, and from nothing else.

Called by `riverbank topics`, by the page of topics, and by whoever needs the name that a certificate gives its process.
Never makes a rule that no row asks for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from streams.topology import FEDERATION_TOPICS, OWN_TOPICS, Role, Topic


@dataclass(frozen=True, slots=True, order=True)
class Principal:
    """A process as the brokers know it, from its certificate's subject: CN is the party, OU the role."""

    party: str
    role: Role

    @property
    def name(self) -> str:
        """As `ssl.principal.mapping.rules` shortens the subject."""
        return f"{self.party}.{self.role.value}"


def alone(role: Role) -> Principal:
    """The federation's only process of this role: its party is named as the role."""
    return Principal(role.value, role)


class Resource(StrEnum):
    """What a rule is about."""

    TOPIC = "topic"
    GROUP = "group"


class Operation(StrEnum):
    """What rules of ours allow. Kafka counts describing a topic, and writing idempotently, as part of either or of writing."""

    READ = "read"
    WRITE = "write"


@dataclass(frozen=True, slots=True, order=True)
class AccessRule:
    """One binding of an access list, as Kafka keeps it; the defaults are those of all rules that we make."""

    resource: str
    name: str
    principal: str  # With its kind: "User:north-bank.portal".
    operation: str
    permission: str = "allow"
    pattern: str = "literal"
    host: str = "*"

    def __str__(self) -> str:
        """A sentence."""
        where = "" if self.host == "*" else f" from {self.host}"
        names = "" if self.pattern == "literal" else f"{self.pattern} "
        return f"{self.principal.removeprefix('User:')} {self.permission} {self.operation} {self.resource} {names}{self.name}{where}"


_ALONE: Final = tuple(map(alone, (Role.OPERATOR, Role.AGGREGATOR, Role.AUDIT, Role.CONSOLE)))
_OF_INSTITUTION: Final = (Role.INSTITUTION, Role.PORTAL)


def aggregator_group(federation: str, party: str) -> str:
    """The consumer group in which the aggregator's workers share out partitions."""
    return f"{party}.{federation}"


def federation_principals(institutions: Iterable[str]) -> tuple[Principal, ...]:
    """Who speaks on the federation's cluster: its own processes, and of each institution the worker and the portal."""
    return (*_ALONE, *(Principal(institution, role) for institution in institutions for role in _OF_INSTITUTION))


def federation_rules(federation: str, institutions: Iterable[str]) -> frozenset[AccessRule]:
    """The access list of the federation's cluster with these members."""
    aggregator = alone(Role.AGGREGATOR)
    group = AccessRule(Resource.GROUP, aggregator_group(federation, aggregator.party), _user(aggregator), Operation.READ)
    return _rules(FEDERATION_TOPICS, federation_principals(institutions), None) | {group}


def own_principals(institution: str) -> tuple[Principal, ...]:
    """Who speaks on an institution's own cluster."""
    return tuple(Principal(institution, role) for role in (Role.SOURCE, *_OF_INSTITUTION, Role.LEDGER))


def own_rules(institution: str) -> frozenset[AccessRule]:
    """The access list of an institution's own cluster."""
    return _rules(OWN_TOPICS, own_principals(institution), institution)


def _rules(rows: Iterable[Topic], principals: Iterable[Principal], institution: str | None) -> frozenset[AccessRule]:
    return frozenset(
        AccessRule(Resource.TOPIC, row.full_name(institution), _user(principal), operation)
        for row in rows
        for principal in principals
        for operation, roles in ((Operation.WRITE, row.written_by), (Operation.READ, row.read_by))
        if principal.role in roles
    )


def _user(principal: Principal) -> str:
    return f"User:{principal.name}"


def render_access() -> str:
    """The part of docs/topology.md about access."""
    federation, institution = "FEDERATION", "INSTITUTION"
    sections = (
        ("an institution's own cluster", own_principals(institution), own_rules(institution)),
        ("the federation's cluster", federation_principals([institution]), federation_rules(federation, [institution])),
    )
    head = (
        "\n\n## Who may do what\n\nThe access lists that `riverbank topics apply` makes of the rows above. A process is known by its certificate: `CN` is its\n"
        "party, `OU` its role, and the brokers' `ssl.principal.mapping.rules` make `party.role` of both. Nobody may do anything else.\n"
    )
    return head + "".join(f"\nOn {title}:\n\n{_rendered(principals, rules)}" for title, principals, rules in sections)


def _rendered(principals: Iterable[Principal], rules: frozenset[AccessRule]) -> str:
    lines = ["| principal | writes | reads | consumer group |", "|---" * 4 + "|"]
    for principal in principals:
        allowed = [rule for rule in sorted(rules) if rule.principal == _user(principal)]

        def names(resource: Resource, operation: Operation, of: list[AccessRule] = allowed) -> str:
            return ", ".join(f"`{rule.name}`" for rule in of if (rule.resource, rule.operation) == (resource, operation))

        cells = (
            f"`{principal.name}`",
            names(Resource.TOPIC, Operation.WRITE),
            names(Resource.TOPIC, Operation.READ),
            names(Resource.GROUP, Operation.READ),
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"
