"""Every measurement, one after the other: prints Markdown, and writes it beside the raw rows below benchmarks/out.

This is `make bench`; `make bench ARGS="--flower-python PATH"` measures Flower's secure aggregation in the same run.
Never runs two measurements at once, except that peers alternate with what they are compared to."""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import psutil

HERE = Path(__file__).parent
Row = dict[str, Any]


def rows_of(script: str, *arguments: str) -> list[Row]:
    """The JSON a script printed: one document, or one a line. What it says on stderr is shown."""
    argv = [sys.executable, str(HERE / script), *arguments]
    print(f"... {script} {' '.join(arguments)}", file=sys.stderr, flush=True)
    output = subprocess.run(argv, stdout=subprocess.PIPE, check=True, text=True, cwd=HERE.parent).stdout
    try:
        return [json.loads(output)]
    except json.JSONDecodeError:
        return [json.loads(line) for line in output.splitlines()]


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(value) for value in line) + " |" for line in lines)


def _pair(cell: dict[str, float]) -> str:
    return f"{cell['min']:,.1f} / {cell['median']:,.1f}"


SECAGG_ROWS = (
    ("Riverbank, set-up", "set_up", ()),
    ("Riverbank, round, all", "round", ()),
    ("- masks, shares, sums", "round", ("protocol", "adding", "quantising")),
    ("- signatures", "round", ("signatures",)),
    ("- encoding", "round", ("encoding",)),
    ("Flower SecAgg+, round", "flower_round", ()),
)


def _total(cell: Row, side: str, parts: Sequence[str]) -> dict[str, float]:
    """Min and median of a side's whole, or of some parts of it together."""
    keys = [key for part in parts if (key := f"{side}_{part}_ms") in cell] if parts else [f"{side}_ms"]
    return {column: sum(cell[key][column] for key in keys) for column in ("min", "median")}


def secagg_text(rows: list[Row]) -> str:
    """Rounds of both systems, line under line."""
    lines = []
    for row in rows:
        what = [row["members"], row["dropped"]]
        for label, key, parts in SECAGG_ROWS:
            cell = row[key]
            if cell is None:
                lines.append([*what, label, "not measured", "", ""])
                continue
            cells = [_pair(_total(cell, side, parts)) for side in ("client", "aggregator")]
            number = f" ({row['flower_repeats']})" if key == "flower_round" else ""
            up = f"{cell['up_bytes']['median'] / row['dimension']:.2f}" if not parts else ""
            lines.append([*what, label + number, *cells, up])
    first = rows[0]
    speeds = ", ".join(f"{row['ed25519_verify_us']:.0f}" for row in rows)
    text = table(["members", "dropped", "what", "client ms", "aggregator ms", "up, bytes per parameter"], lines)
    return f"""{text}

{first["dimension"]:,} parameters; milliseconds of processor time, min / median of {first["repeats"]} (of Flower's: of the number in brackets); everybody works in
turn on one core, no network, no disk. Clients are means over at most {first["timed_members"] if len(rows) == 1 else max(row["timed_members"] for row in rows)} who did not drop out; they drop out after
the keys are agreed and before they send their vector. How fast the machine was: one Ed25519 verification took {speeds} us in these cells (42 us when it is quiet).
Rows of a round: *masks, shares, sums* is everything that the protocol computes: putting integers into the ring, masks, shares and their boxes and commitments, sealing and
unsealing, folding the log, adding, rebuilding secrets, unmasking; *signatures* is signing and verifying; *encoding* is Avro both ways and the
digests of records and bodies. Without its signatures a round compares with Flower's row, which has none. The set-up is measured once.
What each does more or less than the other:
- Riverbank agrees on keys once for {first["epoch_rounds"]} rounds (its set-up row, paid once per epoch); Flower does so in every round, inside its row.
- Riverbank expands masks with AES-256-CTR under 256-bit keys. Flower expands them with MT19937 from a 32-bit seed, which is not a
  cryptographic generator.
- Riverbank's records are Avro, each signed by its sender, verified by every reader, and the masked vectors are sealed to the aggregator as well.
  Flower's messages go to protobuf and back, unsigned (its transport's TLS is not part of this).
- Flower shares a 306-byte private key and a seed per round and combines all shares; Riverbank shares 32-byte secrets and combines a threshold.
- Flower sends masked values as 8 bytes each, Riverbank as 4. Flower's row holds the stochastic rounding of the vector; Riverbank rounds each
  customer's update when it is learned, which is not in these rows. Neither adds noise here.
- A Flower client reads what is addressed to it; a member of Riverbank reads every record of one log but the revealed shares, and that is counted."""


def kafka_text(rows: list[Row]) -> str:
    """Rounds over a real broker."""
    row = rows[0]
    seconds = row["round_s"]
    lines = [
        ["institutions x parameters", f"{row['institutions']} x {row['dimension']:,}"],
        ["from opening to model, s, median (min to max)", f"{seconds['median']} ({seconds['min']} to {seconds['max']})"],
        ["of which the institutions' own computing, in one process", row["institutions_own_s_per_round"]],
        ["last masked update to survivors named, s", row["last_update_to_survivors_s"]],
        ["last share to model, s", row["last_share_to_model_s"]],
        ["masked megabytes per round", row["masked_megabytes_per_round"]],
        ["key set-up of the first epoch, s", row["epoch_setup_s"]],
        ["aggregator, resident MB", ", ".join(map(str, row["aggregator_rss_mb"]))],
        [
            "Flower's SecAgg+, as many clients, one process, no broker: s a round",
            ", ".join(map(str, (row["flower"] or {}).get("round_s", ["not measured"]))),
        ],
    ]
    return (
        table(["what", "measured"], lines)
        + f"\n\n{row['rounds']} rounds after one to warm up; broker, aggregator and members on this machine."
    )


def learning_text(rows: list[Row]) -> str:
    """The worker beside bare River."""
    row = rows[0]
    lines = [
        [label, *(f"{row[key][clock + 'best']:,} / {row[key][clock + 'median']:,}" for clock in ("", "processor_"))]
        for label, key in (
            ("Riverbank's worker, records read", "records_per_s"),
            ("Riverbank's worker, labelled payments", "labelled_per_s"),
            ("bare River, labelled examples", "bare_river_labelled_per_s"),
        )
    ]
    return f"""{table(["what", "per second, best / median", "per second of processor time"], lines)}

{row["payments"]:,} payments with a label each, {row["repeats"]} repeats in turn, log in memory. Bare River does one prediction and one step of one model on features made
beforehand. The worker does more for each payment: it decodes two records, refuses duplicates, computes the features, remembers the
payment until its label, scores and teaches two models (federated and local-only), keeps their quality, and commits all of it to SQLite."""


def memory_text(rows: list[Row]) -> str:
    """Resident memory, tenth by tenth."""
    row = rows[0]
    tenths = [f"{number}0 %" for number in range(1, len(row["resident_mb"]) + 1)]
    return f"""{table(["records read", *tenths], [["resident MB", *row["resident_mb"]]])}

{row["records"]:,} payments and outcomes of {row["customers"]:,} customers, {row["learned"]:,} labels learned; the SQLite file has {row["state_mb"]} MB at the end. What grows
at first is SQLite's page cache, up to its 64 MB."""


def lookups_text(rows: list[Row]) -> str:
    """The portal beside fixed JSON."""
    row = rows[0]
    lines = [
        [label, *(f"{row[key][column]:,.2f}" for column in ("p50_ms", "p99_ms")), f"{row[key]['requests_per_s']:,.0f}"]
        for label, key in (("Riverbank's portal, 3 offers with reasons", "portal"), ("aiohttp, fixed JSON of the same size", "fixed_json"))
    ]
    return f"""{table(["server", "p50 ms", "p99 ms", "requests per s"], lines)}

{row["requests"]:,} requests a pass over {row["connections"]} connections, medians of {row["repeats"]} passes in turn, {row["body_bytes"]} bytes an answer. The client is Python on the same machine and takes
part of the time in both rows. The portal's feeds read a log in memory here; the bare server looks nothing up and measures nothing."""


def login_times_text(rows: list[Row]) -> str:
    """Known and unknown addresses."""
    row = rows[0]
    lines = [[kind, row[f"{key}_ms"], row[f"{key}_processor_ms"]] for kind, key in (("known", "known"), ("not known", "unknown"))]
    return f"""{table(["address", "ms", "processor ms"], lines)}

Medians of {row["pairs"]} refused log-ins each, in turn; the processor times differ by {row["difference_percent"]} %."""


def tls_text(rows: list[Row]) -> str:
    """With mutual TLS and access lists, and without."""
    row = rows[0]
    starts = [
        ["broker, new directory, until it answers: clock", *(f"{row['start_wall_s'][side]:.1f}" for side in ("plain", "tls"))],
        ["the same: its processor time", *(f"{row['start_processor_s'][side]:.1f}" for side in ("plain", "tls"))],
    ]
    whats = {
        "write_wall_s": "source writes, clock", "write_broker_s": "the same, broker", "write_clients_s": "the same, source",
        "learn_wall_s": "worker reads and learns, clock", "learn_broker_s": "the same, broker", "learn_clients_s": "the same, worker",
        "round_s": "a round from opening to model, clock", "rounds_broker_s": "all rounds, broker", "rounds_clients_s": "all rounds, aggregator and institutions",
    }  # fmt: skip
    lines = [
        [label, *(f"{row[side][what]['min']:,.2f} / {row[side][what]['median']:,.2f}" for side in ("plain", "tls"))]
        for what, label in whats.items()
    ]
    return f"""{table(["seconds, best / median", "plain text", "mutual TLS and access lists"], starts + lines)}

Ingest: {row["records"]:,} records, {row["repeats"]} repeats in turn after one to warm up. Rounds: {row["rounds"]} of {row["institutions"]} scripted institutions x {row["dimension"]:,} parameters
after one to warm up. Other lines than "clock" are processor time. Both brokers run side by side."""


def audit_text(rows: list[Row]) -> str:
    """Ledger, ingest and search."""
    row = rows[0]
    lines = [
        ["appending to the ledger, synced every 500, entries per processor second", f"{row['append_per_s']:,}"],
        ["verifying it: hashes, chain, tree, checkpoint; entries per processor second", f"{row['verify_per_s']:,}"],
        ["indexing it in the embedded ClickHouse, entries per second of clock", f"{row['ingest_per_s']:,}"],
        ["the same, per processor second of all threads", f"{row['ingest_per_processor_s']:,}"],
        *(
            [f"search: {name}; s, best / median ({cell['found']} found)", f"{cell['min']} / {cell['median']}"]
            for name, cell in row["searches"].items()
        ),
    ]
    return f"""{table(["what", "measured"], lines)}

{row["entries"]:,} entries of signed records in the ledger; searches over {row["rows"]:,} rows, newest 100 first, as `riverbank audit search` asks."""


def vertical_text(rows: list[Row]) -> str:
    """Two parties, one customer."""
    found, trained = rows
    lines = [
        ["intersection, both parties, s", found["seconds"]],
        ["the plainest Diffie-Hellman, s", found["reference_seconds"]],
        ["training pass, both directions, s", trained["seconds"]],
        ["of which to the partner, s", trained["to_partner_seconds"]],
        ["phe, that direction with a straight line for the residual, s", trained.get("phe_seconds_one_direction", "not installed")],
    ]
    return (
        table(["what", "processor seconds"], lines)
        + f"\n\n{found['names']:,} names at either party; {trained['rows']:,} rows, {trained['bits']} bits."
    )


Text = Callable[[list[Row]], str]
MEASUREMENTS: dict[str, tuple[str, tuple[str, ...], Text]] = {
    "Secure aggregation, processor time": ("secagg.py", (), secagg_text),
    "Rounds through Kafka and the aggregator's process": ("kafka_round.py", (), kafka_text),
    "What mutual TLS costs": ("tls_cost.py", (), tls_text),
    "Learning, one institution, one core": ("learning.py", (), learning_text),
    "Memory of one institution's learning": ("memory.py", (), memory_text),
    "Two parties, one customer": ("vertical.py", (), vertical_text),
    "The audit: ledger, index, search": ("audit_speed.py", (), audit_text),
    "Recommendation lookups over loopback": ("lookups.py", (), lookups_text),
    "Refused log-ins": ("login_times.py", (), login_times_text),
}


def machine() -> Row:
    """Where it was measured."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
    return {
        "processor": model, "cores": psutil.cpu_count(), "memory_gib": round(psutil.virtual_memory().total / 2**30),
        "python": platform.python_version(), "load_before": [round(value, 1) for value in os.getloadavg()],
    }  # fmt: skip


def main(flower_python: str | None) -> None:
    """All of MEASUREMENTS."""
    begun, where = dt.datetime.now(dt.UTC), machine()
    raw: Row = {"date": begun.isoformat(timespec="seconds"), "machine": where, "measured": {}}
    described = (
        f"{where['cores']} cores, {where['processor']}, {where['memory_gib']} GiB, Python {where['python']}; load average before the run "
        f"{', '.join(map(str, where['load_before']))} (one per core means that other work takes all of it)."
    )
    texts = [f"# Measurements of {begun:%Y-%m-%d %H:%M} UTC", described]
    for title, (script, arguments, text) in MEASUREMENTS.items():
        extra = ("--flower-python", flower_python) if flower_python and script in {"secagg.py", "kafka_round.py"} else ()
        rows = rows_of(script, *arguments, *extra)
        raw["measured"][script] = rows
        texts.append(f"## {title}\n\n`python benchmarks/{' '.join((script, *arguments))}`\n\n{text(rows)}")
        print(f"\n{texts[-1]}\n", flush=True)
    out = HERE / "out"
    out.mkdir(exist_ok=True)
    name = f"{begun:%Y-%m-%dT%H%M%SZ}"
    (out / f"{name}.json").write_text(json.dumps(raw, indent=1) + "\n")
    (out / f"{name}.md").write_text("\n\n".join(texts) + "\n")
    print(f"written to {out / name}.md and .json", file=sys.stderr)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--flower-python", default=os.environ.get("FLOWER_PYTHON"), help="an interpreter with flwr[simulation]==1.41.0 installed"
    )
    main(parser.parse_args().flower_python)
