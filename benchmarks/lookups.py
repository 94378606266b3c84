"""Recommendation lookups over loopback against the portal in a process of its own, beside a bare aiohttp server: prints JSON.

Run by benchmarks/run.py, or as `python benchmarks/lookups.py [--requests 2000] [--connections 8]`.
Never a broker: the portal's feeds read a log in memory, the requests and answers are real HTTP."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from aiohttp import web as http

from federation import messages as m
from federation.heads.products import Catalogue
from federation.members.keys import PartyKeys
from federation.secagg.keys import KEY_BYTES, Secret
from riverbank.provisioning.federations import found
from streams import topology
from streams.codec import encode
from streams.memory import MemoryLog
from streams.parties import Parties
from streams.ports import Outgoing
from streams.signed import seal_record
from web.app import make_app
from web.identity.house import open_identity
from web.identity.recorders import LogLines
from web.identity.roles import Scope
from web.identity.secrets import open_vault
from web.wiring import SystemClock, make_window

BANK, CUSTOMERS = "alder-bank", 1000


async def listen(app: http.Application, key: str = "none") -> None:
    """Serve for ever on a free port of the loopback, printed with the API key."""
    runner = http.AppRunner(app, access_log=None)
    await runner.setup()
    await http.TCPSite(runner, "127.0.0.1", 0).start()
    print(runner.addresses[0][1], key, flush=True)
    await asyncio.Event().wait()


async def portal() -> None:
    """The real application, its memory filled through its own feeds."""
    catalogue, draw = Catalogue.shipped(), np.random.Generator(np.random.PCG64(3))
    federation = MemoryLog({row.full_name(): row.partitions for row in topology.FEDERATION_TOPICS})
    own = MemoryLog({row.full_name(BANK): row.partitions for row in topology.OWN_TOPICS})
    vector = draw.normal(0, 1, len(catalogue.layout)).astype("<f8").tobytes()
    model = m.ServingModel(
        head=m.HeadName.PRODUCTS, version=1, epoch=1, round=1, layout_digest=catalogue.layout.digest, vector=vector,
        events_learned=1, saved_at_ms=1,
    )  # fmt: skip
    founded = found(
        "bench", [BANK], ca_seed=Secret(os.urandom(KEY_BYTES)), keys_of=lambda _: PartyKeys.from_entropy(os.urandom), now_ms=SystemClock().now_ms()
    )  # fmt: skip
    await founded.publish(federation, SystemClock().now_ms())
    await own.append(
        [
            Outgoing(
                topology.SERVING_MODELS.full_name(BANK),
                0,
                b"products",
                seal_record(model, sender=BANK, sign=founded.keys[BANK].sign, federation="bench", topic=topology.SERVING_MODELS),
            )
        ]
    )
    ids = [product.id for product in catalogue.products]
    for number in range(CUSTOMERS):
        held = tuple(sorted(draw.choice(ids, 3, replace=False).tolist()))
        profile = m.CustomerProfile(customer=f"c{number}", held=held, dismissed=(), updated_at_ms=1)
        await own.append([Outgoing(topology.PROFILES.full_name(BANK), 0, profile.customer.encode(), encode(profile))])
    parties = Parties(federation, federation="bench", ca_verify_key=founded.ca_verify_key)
    with tempfile.TemporaryDirectory() as folder:
        await _serve(parties, federation, own, Path(folder))


async def _serve(parties: Parties, federation: MemoryLog, own: MemoryLog, folder: Path) -> None:
    vault = open_vault(folder / "vault.key", os.urandom)
    dsn = f"sqlite:///{folder}/portal.sqlite3"
    async with (
        open_identity(dsn, vault, SystemClock(), os.urandom, LogLines(), place=BANK, code_needed=True) as identity,
        asyncio.TaskGroup() as group,
    ):
        window = make_window(parties, federation, (BANK, own), SystemClock(), identity)
        assert window.institution is not None
        _, key = await identity.keys.make("bench", [Scope.RECOMMENDATIONS_READ], by="bench")
        for feed in (window.feed, window.institution.feed):
            group.create_task(feed.run())
        await window.institution.feed.caught_up.wait()
        await listen(make_app(window), key)


async def fixed(body_bytes: int) -> None:
    """A server that answers every path with the same JSON of this size."""
    body = json.dumps({"items": "x" * (body_bytes - 13)}).encode()

    async def answer(_request: http.Request) -> http.Response:
        return http.Response(body=body, content_type="application/json")

    app = http.Application()
    app.add_routes([http.get("/api/v1/recommendations/{customer}", answer)])
    await listen(app)


@dataclass(frozen=True)
class Server:
    """Where to ask, and with which key."""

    port: int
    key: str


async def ask(server: Server, first: int, count: int, times: list[float]) -> int:
    """`count` lookups on one kept connection, each after the last one's answer; seconds into `times`; the last body's bytes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    length = 0
    for number in range(first, first + count):
        begun = time.perf_counter()
        writer.write(
            f"GET /api/v1/recommendations/c{number % CUSTOMERS}?n=3 HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {server.key}\r\n\r\n".encode()
        )
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        await reader.readexactly(length)
        times.append(time.perf_counter() - begun)
        assert head.startswith(b"HTTP/1.1 200")
    writer.close()
    await writer.wait_closed()
    return length


async def load(server: Server, requests: int, connections: int) -> tuple[dict[str, float], int]:
    """One pass: p50 and p99 in milliseconds, requests per second; and a body's bytes."""
    times: list[float] = []
    begun = time.perf_counter()
    each = requests // connections
    sizes = await asyncio.gather(*(ask(server, number * each, each, times) for number in range(connections)))
    seconds = time.perf_counter() - begun
    ordered = sorted(times)
    row = {
        "p50_ms": 1000 * ordered[len(ordered) // 2],
        "p99_ms": 1000 * ordered[int(0.99 * len(ordered))],
        "requests_per_s": len(times) / seconds,
    }
    return row, sizes[0]


def start(*arguments: str) -> tuple[subprocess.Popen[str], Server]:
    """A server process, and how to ask it."""
    child = subprocess.Popen([sys.executable, __file__, *arguments], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    port, key = child.stdout.readline().split()
    return child, Server(int(port), key)


def main(requests: int, connections: int, repeats: int) -> dict[str, object]:
    """Passes over both servers in turn; the first of each warms up."""
    children = []
    try:
        child, portal_server = start("--serve", "portal")
        children.append(child)
        _, size = asyncio.run(load(portal_server, requests, connections))
        child, fixed_server = start("--serve", "fixed", "--body-bytes", str(size))
        children.append(child)
        asyncio.run(load(fixed_server, requests, connections))
        passes: dict[str, list[dict[str, float]]] = {"portal": [], "fixed_json": []}
        for _ in range(repeats):
            for name, server in (("portal", portal_server), ("fixed_json", fixed_server)):
                passes[name].append(asyncio.run(load(server, requests, connections))[0])
    finally:
        for child in children:
            child.terminate()
            child.communicate()
    found = {name: {key: round(statistics.median(row[key] for row in rows), 3) for key in rows[0]} for name, rows in passes.items()}
    return {"requests": requests, "connections": connections, "repeats": repeats, "body_bytes": size, **found}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=4000)
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--serve", choices=["portal", "fixed"], help="be one of the two servers instead")
    parser.add_argument("--body-bytes", type=int, default=1000)
    options = parser.parse_args()
    if options.serve:
        asyncio.run(portal() if options.serve == "portal" else fixed(options.body_bytes))
    else:
        print(json.dumps(main(options.requests, options.connections, options.repeats)))
