"""The `riverbank` command: demo, the parties' processes, the embedded broker, schemas, audit.

Started by the console script and by the demo's supervisor.
Never shows a traceback for what an operator can mend: one sentence on stderr and a non-zero exit code."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar

import typer

from riverbank.core_dumps import forbid_core_dumps
from riverbank.provisioning import commands
from streams.settings import (
    AggregatorProcess,
    AuditProcess,
    FeedProcess,
    InstitutionProcess,
    SettingsError,
    TopicsProcess,
    VerticalProcess,
    WebProcess,
    load_settings,
)

if TYPE_CHECKING:
    from streams.cluster_plan import Plan

# Each role's package is imported when its command runs: a portal must not pay for River, nor `--help` for anything.
# ruff: noqa: PLC0415

app: Final = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, help="Banks learn together without showing their customers.")
institution: Final = typer.Typer(no_args_is_help=True, help="An institution's worker.")
aggregator: Final = typer.Typer(no_args_is_help=True, help="The aggregator.")
audit: Final = typer.Typer(no_args_is_help=True, help="The audit: its writer, and what it holds.")
web: Final = typer.Typer(no_args_is_help=True, help="Portal and console.")
broker: Final = typer.Typer(no_args_is_help=True, help="The embedded Kafka broker.")
topics: Final = typer.Typer(no_args_is_help=True, help="Topics and access lists of a Kafka cluster.")
schemas: Final = typer.Typer(no_args_is_help=True, help="Avro schemas, their lock and what is rendered from them.")
supply_chain: Final = typer.Typer(
    no_args_is_help=True, help="What Riverbank is made of, and what is known against it (development install)."
)
vertical: Final = typer.Typer(no_args_is_help=True, help="A scorecard of two parties who share customers (docs/vertical.md).")
paillier: Final = typer.Typer(no_args_is_help=True, help="Threshold Paillier keys, for secure sums of small models.")
for _name, _group in (
    ("institution", institution), ("aggregator", aggregator), ("audit", audit), ("web", web), ("broker", broker), ("topics", topics),
    ("schemas", schemas), ("paillier", paillier), ("vertical", vertical), ("supply-chain", supply_chain), ("provision", commands.provision),
    ("members", commands.members),
):  # fmt: skip
    app.add_typer(_group, name=_name)

Config = Annotated[Path, typer.Option("--config", help="The process's TOML settings; RIVERBANK_SECTION__KEY in the environment overrides.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
T = TypeVar("T")
P = TypeVar("P", InstitutionProcess, AggregatorProcess, AuditProcess, WebProcess, FeedProcess, TopicsProcess, VerticalProcess)

EXIT_WRONG_INPUT: Final = 2


class CannotRun(Exception):
    """What an operator asked for cannot be done; the sentence says why."""


def main() -> None:
    """Entry point of the console script."""
    forbid_core_dumps()
    try:
        app(standalone_mode=True)
    except (CannotRun, SettingsError, *commands.EXPECTED) as error:
        sys.stderr.write(f"riverbank: {error}\n")
        sys.exit(EXIT_WRONG_INPUT)


def _run(work: Coroutine[Any, Any, None]) -> None:
    from streams.runner import run_until_signalled

    raise typer.Exit(run_until_signalled(work))


def _settings(path: Path, process: type[P]) -> P:
    from streams.telemetry import configure_logging

    loaded = load_settings(path, process)
    configure_logging(loaded.ops.log_level)
    return loaded


@app.callback(invoke_without_command=True)
def _version(version: Annotated[bool, typer.Option("--version", help="Show the version and exit.")] = False) -> None:
    if version:
        from streams.telemetry import SOFTWARE_VERSION

        typer.echo(SOFTWARE_VERSION)
        raise typer.Exit


@institution.command("run")
def institution_run(config: Config) -> None:
    """Learn from the institution's topics and take part in the rounds, until stopped."""
    from institution_workers import wiring

    _run(wiring.run(_settings(config, InstitutionProcess)))


@aggregator.command("run")
def aggregator_run(config: Config) -> None:
    """Open rounds, sum what comes, publish global models, until stopped."""
    from aggregator_worker import wiring

    _run(wiring.run(_settings(config, AggregatorProcess)))


@web.command("run")
def web_run(config: Config) -> None:
    """Serve an institution's portal, or without an institution the operator's console, until stopped."""
    from web import wiring

    _run(wiring.run(_settings(config, WebProcess)))


@broker.command("run")
def broker_run(
    directory: Annotated[Path, typer.Option(help="Where its topics lie.")],
    port: int = 0,
    host: Annotated[str, typer.Option(help="The address it listens on; without certificates a loopback address.")] = "127.0.0.1",
    certificates: Annotated[
        Path | None, typer.Option(help="Folder with ca.crt, kafka.crt and kafka.key: mutual TLS and access lists.")
    ] = None,
    federation: Annotated[str, typer.Option(help="Whose certificates count (O in their subjects).")] = "",
    operator: Annotated[str, typer.Option(help="Who is above the access lists (CN in the subject, with OU=operator).")] = "operator",
) -> None:
    """Run one Kafka broker on this machine, until stopped."""
    from riverbank.embedded.configuration import BrokerTls
    from riverbank.embedded.kafka import EmbeddedKafka
    from riverbank.provisioning.transport import tls_files
    from streams.access import Principal
    from streams.topology import Role

    if (certificates is None) != (not federation):
        raise CannotRun("--certificates and --federation belong together")
    above = (Principal(operator, Role.OPERATOR),)
    tls = None if certificates is None else BrokerTls(tls_files(certificates), federation, above)

    async def serve() -> None:
        async with EmbeddedKafka(directory, port, tls, host) as kafka:
            typer.echo(kafka.bootstrap)
            await asyncio.Event().wait()

    _run(serve())


@topics.command("plan")
def topics_plan(config: Config, as_json: Json = False) -> None:
    """Show what a Kafka cluster's topics, settings and access lists lack; nothing is changed."""
    topics_apply(config, dry_run=True, as_json=as_json)


@topics.command("apply")
def topics_apply(
    config: Config, dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show.")] = False, as_json: Json = False
) -> None:
    """Show, then make, what topics, settings and access lists lack. Rights of who is no member any more are removed, topics never."""
    from riverbank import topics as cluster
    from streams.ports import LogRefused, LogUnavailable

    settings = _settings(config, TopicsProcess).cluster
    try:
        asyncio.run(cluster.bring_about(settings, show=lambda plan: _show_plan(plan, as_json), dry_run=dry_run))
    except (LogRefused, LogUnavailable) as error:
        raise CannotRun(str(error)) from error


def _show_plan(plan: Plan, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(plan.as_json(), indent=1))
        return
    for line in plan.lines():
        typer.echo(line)
    if plan.empty:
        typer.echo("nothing to do")


@audit.command("run")
def audit_run(config: Config) -> None:
    """Write the audit topic to ClickHouse, until stopped."""
    from audit import writer

    _run(writer.run(_settings(config, AuditProcess)))


def _show(rows: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(rows, indent=1))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(*(rows[0] if rows else ["nothing found"]))
    for row in rows:
        table.add_row(*map(str, row.values()))
    Console().print(table)


@audit.command("summary")
def audit_summary(config: Config, as_json: Json = False) -> None:
    """Entries and bytes per actor, action and head."""
    from audit import queries, writer

    settings = _settings(config, AuditProcess).audit
    _show(_told(lambda: queries.summary(settings.dsn, password=writer.password_in(settings.password_file))), as_json)


@audit.command("search")
def audit_search(
    config: Config, head: str = "", round_number: Annotated[int, typer.Option("--round", help="-1: any.")] = -1, actor: str = "", action: str = "", accused: str = "",
    limit: int = 100, as_json: Json = False,
) -> None:  # fmt: skip
    """Exchanges by head, round, actor, action or accused party, newest first."""
    from audit import queries, writer

    settings = _settings(config, AuditProcess).audit
    asked: dict[str, str | int] = {
        "head": head,
        "round": round_number,
        "actor": actor,
        "action": action,
        "accused": accused,
        "limit": limit,
    }
    _show(_told(lambda: queries.search(settings.dsn, password=writer.password_in(settings.password_file), **asked)), as_json)


@audit.command("verify")
def audit_verify(config: Config, as_json: Json = False) -> None:
    """Check every entry of the ledger against its hash, its place and the one before it; exit 1 and the first wrong entry if one is."""
    from audit.frames import TamperedError
    from audit.ledger import verified_root

    directory = _settings(config, AuditProcess).audit.ledger_dir
    if not directory.is_dir():
        raise CannotRun(f"there is no ledger in {directory} yet")
    try:
        entries, root = verified_root(directory)
    except TamperedError as tampered:
        typer.echo(json.dumps({"entry": tampered.sequence, "wrong": tampered.reason}) if as_json else f"TAMPERED: {tampered}")
        raise typer.Exit(1) from tampered
    found = {"entries": entries, "root": root.hex()}
    typer.echo(json.dumps(found) if as_json else f"{entries} entries, every one as it was written; root {root.hex()}")


@audit.command("rebuild")
def audit_rebuild(config: Config) -> None:
    """Make the index in ClickHouse anew from the ledger; the audit writer must be stopped."""
    from audit import index, writer
    from audit.frames import TamperedError
    from audit.ledger import LedgerError
    from audit.warehouse import WarehouseError

    settings = _settings(config, AuditProcess).audit
    try:
        entries, root = asyncio.run(index.rebuild(settings.ledger_dir, settings.dsn, writer.password_in(settings.password_file)))
    except (LedgerError, TamperedError, WarehouseError) as error:
        raise CannotRun(str(error)) from error
    typer.echo(f"{entries} entries indexed; root {root.hex()}")


def _told(question: Callable[[], list[dict[str, Any]]]) -> list[dict[str, Any]]:
    from audit.warehouse import WarehouseError
    from federation.errors import OwnFault

    try:
        return question()
    except (OwnFault, WarehouseError) as error:
        raise CannotRun(str(error)) from error


@paillier.command("deal")
def paillier_deal(
    directory: Annotated[Path, typer.Argument(help="A new folder for the public key and one share per member.")],
    member: Annotated[list[str], typer.Option(help="A holder; repeat, in alphabetical order.")],
    threshold: Annotated[int, typer.Option(help="How many holders decrypt together.")],
    bits: Annotated[int, typer.Option(help="Length of the modulus.")] = 3072,
) -> None:
    """Deal a threshold Paillier key (seconds to minutes). Carry each share to its holder, then delete the folder."""
    import os

    from federation.errors import OwnFault
    from riverbank.paillier import deal_files

    try:
        typer.echo(deal_files(directory, members=member, threshold=threshold, bits=bits, entropy=os.urandom))
    except OwnFault as error:
        raise CannotRun(str(error)) from error


@vertical.command("run")
def vertical_run(config: Config) -> None:
    """One party of a vertical partnership: listen, answer, train, predict, until stopped."""
    from institution_workers.vertical import wiring

    _run(wiring.run(_settings(config, VerticalProcess)))


@vertical.command("status")
def vertical_status(config: Config, as_json: Json = False) -> None:
    """What either party last said of the partnership."""
    from riverbank.vertical import status

    _show(_answered(status(_settings(config, VerticalProcess))), as_json)


Wait = Annotated[int, typer.Option("--wait", min=1, help="Give up after so many seconds.")]


@vertical.command("intersect")
def vertical_intersect(
    config: Config,
    policy: Annotated[str, typer.Option(help="Who is to learn what: shown, counted or hidden.")] = "shown",
    wait: Wait = 600,
    as_json: Json = False,
) -> None:
    """Ask the partner which customers are shared, or how many; at the bank, whose worker must be running."""
    from federation.messages import OverlapPolicy, VerticalVerb
    from riverbank.vertical import Asked

    if policy not in list(OverlapPolicy):
        raise CannotRun(f"--policy is one of {', '.join(OverlapPolicy)}")
    _ask(config, Asked(VerticalVerb.INTERSECT, wait * 1000, policy=OverlapPolicy(policy)), as_json)


@vertical.command("train")
def vertical_train(
    config: Config,
    warm: Annotated[bool, typer.Option(help="Go on from the weights at hand, with what is new.")] = False,
    wait: Wait = 3600,
    as_json: Json = False,
) -> None:
    """Train together on the shared customers; at the bank, whose worker must be running."""
    from federation.messages import VerticalVerb
    from riverbank.vertical import Asked

    _ask(config, Asked(VerticalVerb.TRAIN, wait * 1000, warm=warm), as_json)


@vertical.command("predict")
def vertical_predict(
    config: Config,
    customer: Annotated[str, typer.Argument(help="The name by which both parties know the person.")],
    wait: Wait = 10,
    as_json: Json = False,
) -> None:
    """A customer's probability of default from both halves; from the bank's alone if the partner does not answer."""
    from federation.messages import VerticalVerb
    from riverbank.vertical import Asked

    _ask(config, Asked(VerticalVerb.PREDICT, wait * 1000, customer=customer), as_json)


@vertical.command("encode")
def vertical_encode(
    customers: Annotated[
        Path, typer.Argument(help="A CSV file: customer, and the identifiers that both parties have under the same names.")
    ],
    out: Annotated[Path, typer.Argument(help="A new folder.")],
    key_file: Annotated[Path, typer.Option(help="64 hexadecimal digits that both parties know and the linkage unit does not.")],
) -> None:
    """At either party: encode customers for a linkage unit, where names are similar only (the limits: docs/vertical.md)."""
    import os

    from riverbank.linkage import FOR_UNIT, KEPT, encode_file

    count = _linked(lambda: encode_file(key_file, customers, out, entropy=os.urandom))
    typer.echo(f"{count} encoded: carry {out / FOR_UNIT} to the unit, and keep {out / KEPT} here")


@vertical.command("link")
def vertical_link(
    bank: Annotated[Path, typer.Argument(help="The bank's file for the unit.")],
    partner: Annotated[Path, typer.Argument(help="The partner's.")],
    out: Annotated[Path, typer.Argument(help="A new folder.")],
    threshold: Annotated[float, typer.Option(help="The least Dice similarity of a pair; docs/vertical.md has error rates.")],
) -> None:
    """At the linkage unit, which has no key: pair the rows of two encoded lists."""
    import os

    from riverbank.linkage import ANSWERS, link_files

    count = _linked(lambda: link_files(bank, partner, out, threshold=threshold, entropy=os.urandom))
    typer.echo(f"{count} pairs: carry {out / ANSWERS[0]} to the bank, {out / ANSWERS[1]} to the partner, and delete the encodings")


@vertical.command("rename")
def vertical_rename(
    encoded: Annotated[Path, typer.Argument(help="The folder that `encode` made.")],
    answer: Annotated[Path, typer.Argument(help="The unit's answer.")],
    out: Annotated[Path, typer.Argument(help="A new CSV file: customer, id.")],
) -> None:
    """At either party: the id by which each customer is called in events of the partnership."""
    from riverbank.linkage import rename_file

    typer.echo(f"{_linked(lambda: rename_file(encoded, answer, out))} ids in {out}")


def _linked(work: Callable[[], int]) -> int:
    from federation.errors import OwnFault

    try:
        return work()
    except OwnFault as error:
        raise CannotRun(str(error)) from error


@vertical.command("evaluate")
def vertical_evaluate(
    data: Annotated[Path, typer.Option(help="Folder of data sets (docs/data.md).")],
    sets: Annotated[str, typer.Option("--set", help="taiwan, berka or both, comma-separated.")] = "taiwan,berka",
    encrypted: Annotated[
        bool, typer.Option(help="Train each set's first division under 3072-bit encryption too (minutes), and compare the bits.")
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="Of the divisions.")] = 1,
    as_json: Json = False,
) -> None:
    """What a vertical partnership is worth: the bank alone, both trained apart, the same scorecard on the joined table."""
    _evaluate_vertical(data, sets, encrypted=encrypted, seed=seed, as_json=as_json)


def _evaluate_vertical(data: Path, sets: str, *, encrypted: bool, seed: int, as_json: bool) -> None:
    from federation.errors import OwnFault
    from riverbank.evaluation import vertical as evaluation

    names = [name.strip() for name in sets.split(",")]
    try:
        results = evaluation.evaluate(data, names, seed=seed, encrypted=encrypted, said=lambda text: typer.echo(text, err=True))
    except OwnFault as error:
        raise CannotRun(str(error)) from error
    _show(evaluation.as_dicts(results) if as_json else evaluation.as_rows(results), as_json)


def _ask(config: Path, asked: Any, as_json: bool) -> None:
    from dataclasses import asdict

    from riverbank.vertical import ask

    settings = _settings(config, VerticalProcess)
    if settings.vertical.role != "bank":
        raise CannotRun("only the bank begins anything: its partner answers")
    told = _answered(ask(settings, asked))
    _show([asdict(told)], as_json)
    raise typer.Exit(0 if told.done else 1)


def _answered(question: Coroutine[Any, Any, T]) -> T:
    from riverbank.vertical import NotTold
    from streams.ports import LogRefused, LogUnavailable

    try:
        return asyncio.run(question)
    except (NotTold, LogRefused, LogUnavailable) as error:
        raise CannotRun(str(error)) from error


@schemas.command("render")
def schemas_render() -> None:
    """Write federation/messages.py, the schema lock and docs/topology.md anew from their sources."""
    from streams import schema_lock

    schema_lock.render()


@schemas.command("check")
def schemas_check() -> None:
    """Exit 1 if a schema changed incompatibly or something rendered is stale; one line for each."""
    from streams import schema_lock

    problems = schema_lock.check()
    for problem in problems:
        typer.echo(problem, err=True)
    raise typer.Exit(1 if problems else 0)


Lock = Annotated[Path, typer.Option(help="A lock with hashes.")]


@supply_chain.command("sbom")
def supply_chain_sbom(
    lock: Lock = Path("requirements.lock"), out: Annotated[Path, typer.Option(help="File to write.")] = Path("build/sbom.cdx.json")
) -> None:
    """Write a CycloneDX bill of materials: the locked packages and Kafka's jars, with their hashes."""
    from riverbank.embedded.jars import pinned_jars
    from riverbank.supply_chain import SupplyChainError, bill_of_materials, locked_packages

    try:
        bill = bill_of_materials(locked_packages(lock), pinned_jars())
    except SupplyChainError as error:
        raise CannotRun(str(error)) from error
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(bill, encoding="utf-8")
    typer.echo(out)


@supply_chain.command("advisories")
def supply_chain_advisories(
    lock: Lock = Path("requirements.lock"),
    required: Annotated[bool, typer.Option("--required", help="Fail also when packages could not be looked up.")] = False,
) -> None:
    """Exit 1 if a vulnerability of a locked package is published. Without a network it says so, and fails only if --required."""
    from riverbank.supply_chain import SupplyChainError, advisories

    try:
        findings = advisories(lock)
    except SupplyChainError as error:
        raise CannotRun(str(error)) from error
    for package, known in findings.known.items():
        typer.echo(f"{package}: {', '.join(known)}", err=True)
    if findings.not_asked:
        typer.echo(f"NOT LOOKED UP: {len(findings.not_asked)} packages, no advisory service answered for them", err=True)
    typer.echo(f"{findings.asked} packages looked up, {len(findings.known)} with published vulnerabilities")
    raise typer.Exit(1 if findings.known or (required and findings.not_asked) else 0)


@app.command()
def doctor(config: Config, as_json: Json = False) -> None:
    """Look over everything the process of a settings file needs, and say how to mend what is wrong; exit 1 if something is."""
    from riverbank.doctor.examination import examine
    from riverbank.doctor.findings import Level

    async def examined() -> list[dict[str, Any]]:
        return [dataclasses.asdict(finding) async for finding in examine(config)]

    found = asyncio.run(examined())
    _show(found, as_json)
    raise typer.Exit(1 if any(finding["level"] == Level.WRONG for finding in found) else 0)


@app.command()
def feed(
    config: Config,
    progress: Annotated[Path, typer.Option(help="Where to note how far it is; with one it goes on there.")],
    data: Annotated[Path | None, typer.Option(help="Folder of data sets (docs/data.md); without it events are generated.")] = None,
    seed: Annotated[int, typer.Option(help="Of the generator.")] = 1,
    pace: Annotated[list[str] | None, typer.Option(help="HEAD=PACE, e.g. fraud=1500/s, credit=60s, products=20000x.")] = None,
) -> None:
    """Play events into the institutions' topics: a data set, or generated ones."""
    from federation.errors import OwnFault
    from federation.messages import HeadName
    from riverbank import feed as player
    from riverbank.datasets.selection import Selection
    from riverbank.generator.world import World

    try:
        paces = {HeadName(head): player.Pace.parsed(text) for head, _, text in (given.partition("=") for given in pace or [])}
    except (ValueError, OwnFault) as error:
        raise CannotRun(f"--pace: {error}") from error
    settings = player.FeedSettings(
        sources=_settings(config, FeedProcess).feed.sources, progress_file=progress,
        origin=World(seed=seed) if data is None else Selection(folder=data, seed=seed), paces=paces or player.GENERATED_PACES,
    )  # fmt: skip
    _run(player.run(settings))


@app.command()
def demo(
    data: Annotated[Path | None, typer.Option(help="Folder of data sets (docs/data.md); without it events are generated.")] = None,
    rounds: Annotated[
        int | None, typer.Option(min=1, help="End after so many rounds of every head, once a finite feed is used up.")
    ] = None,
    headless: Annotated[bool, typer.Option(help="Draw nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")] = False,
    round_ms: Annotated[int, typer.Option(min=500, max=600_000, help="Open a round this often.")] = 3000,
    seed: Annotated[int, typer.Option(help="Of the generated events.")] = 1,
    directory: Annotated[Path | None, typer.Option(help="Keep everything below this new directory.")] = None,
) -> None:
    """Five institutions learn together on this machine: broker, aggregator, audit and portals in processes of their own."""
    from riverbank.demo.run import EXPECTED, Demo, run_demo
    from streams.telemetry import configure_logging

    configure_logging("warning")
    asked = Demo(data=data, seed=seed, rounds=rounds, round_ms=round_ms, headless=headless, as_json=as_json, directory=directory)
    try:
        code = asyncio.run(run_demo(asked))
    except EXPECTED as error:
        raise CannotRun(str(error)) from error
    raise typer.Exit(code)


@app.command()
def evaluate(
    data: Annotated[Path | None, typer.Option(help="Folder of data sets (docs/data.md); without it only generated sets.")] = None,
    sets: Annotated[str, typer.Option("--set", help="Data sets, comma-separated, or all.")] = "all",
    variants: Annotated[str, typer.Option(help="What to compare, comma-separated (docs/evaluation.md).")] = "",
    events: Annotated[int | None, typer.Option(min=1, help="Only the first so many events of each set.")] = None,
    round_every: Annotated[
        str | None, typer.Option(help="Events between rounds, as 200, or event time, as 15m; several, comma-separated, are compared.")
    ] = None,
    labels_at_once: Annotated[bool, typer.Option(help="Labels right after their events, instead of when the set says.")] = False,
    seed: Annotated[int, typer.Option(min=0, help="Of everything random.")] = 1,
    jobs: Annotated[int, typer.Option(min=1, help="Processes to share the variants out to.")] = 1,
    out: Annotated[Path | None, typer.Option(help="Write JSON, Markdown and a page with plots into this folder.")] = None,
    apart: Annotated[
        bool,
        typer.Option("--vertical", help="Instead: columns at two parties (`riverbank vertical evaluate`); --set, --data and --seed count."),
    ] = False,
    as_json: Json = False,
) -> None:
    """What federation is worth on known data: alone, federated, pooled; each event is scored before it is learned."""
    if apart:
        if data is None:
            raise CannotRun("--vertical reads files: name their folder with --data (docs/data.md)")
        _evaluate_vertical(data, "taiwan,berka" if sets == "all" else sets, encrypted=False, seed=seed, as_json=as_json)
        return
    from federation.errors import OwnFault
    from riverbank.evaluation import command, report
    from riverbank.evaluation.variants import USUAL
    from streams.telemetry import configure_logging

    configure_logging("warning")
    asked = command.Asked(
        data=data, sets=sets, variants=variants or USUAL, events=events, round_every=round_every, labels_at_once=labels_at_once, seed=seed,
        jobs=jobs,
    )  # fmt: skip
    try:
        results = command.evaluate(asked, lambda text: typer.echo(text, err=True))
        for path in report.write(results, out) if out is not None else ():
            typer.echo(str(path), err=True)
    except (OwnFault, OSError) as error:
        raise CannotRun(str(error)) from error
    if as_json:
        typer.echo(command.as_json(results), nl=False)
        return
    from rich.console import Console

    from riverbank.evaluation.tables import print_result

    console = Console() if sys.stdout.isatty() else Console(width=160)
    for result in results:
        print_result(result, console)
