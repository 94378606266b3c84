"""A federation on a real broker: topics, certificates, a cast, and aggregator processes that can be killed.

Used by the broker tests and by benchmarks/kafka_round.py.
Never leaves a process behind: `close` kills what still runs."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from federation import messages as m
from federation.merge import next_model
from federation.secagg.quantize import decode_sum
from streams.access import alone
from streams.cluster_plan import Wanted
from streams.kafka import KafkaLog
from streams.kafka_admin import provision_topics
from streams.model_chunks import ModelJoiner, SumJoiner
from streams.passphrases import VARIABLE
from streams.ports import Position
from streams.signed import open_record
from streams.topology import AUDIT, FEDERATION_TOPICS, MODELS, Role, Topic, lane_partition
from tests.aggregator_worker.aggregator_child import made_up_layout
from tests.aggregator_worker.cast import Cast
from tests.credentials import AGGREGATOR, PASSPHRASE, Credentials
from tests.pki import OPERATOR
from tests.streams.secured import Secured

CHILD = Path(__file__).with_name("aggregator_child.py")


class Worker:
    """One aggregator process; its log lines as they come."""

    def __init__(self, config: Path, dimension: int) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-W", "error", str(CHILD), str(config), str(dimension)],
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {VARIABLE: PASSPHRASE},
        )
        self.lines: list[dict[str, object]] = []
        self._reading = asyncio.create_task(asyncio.to_thread(self._read))

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            try:
                self.lines.append(json.loads(line))
            except json.JSONDecodeError:
                self.lines.append({"event": line.rstrip(), "level": "raw"})

    def said(self, event: str) -> list[dict[str, object]]:
        return [line for line in self.lines if line.get("event") == event]

    def grave(self) -> list[dict[str, object]]:
        """Lines at warning or above."""
        return [line for line in self.lines if line.get("level") not in {"info", "debug"}]

    async def until(self, condition: Callable[[Worker], object], within_s: float = 40.0) -> None:
        end = asyncio.get_running_loop().time() + within_s
        while not condition(self):
            assert self.process.poll() is None, self.lines[-20:]
            assert asyncio.get_running_loop().time() < end, self.lines[-20:]
            await asyncio.sleep(0.02)

    async def ready(self) -> None:
        await self.until(lambda worker: worker.said("aggregating"))

    async def ended(self, number: signal.Signals | None = None, within_s: float = 20.0) -> int:
        if number is not None and self.process.poll() is None:
            self.process.send_signal(number)
        code = await asyncio.to_thread(self.process.wait, within_s)
        await self._reading
        assert self.process.stderr is not None
        self.process.stderr.close()
        return code


class Troupe:
    """Everything of one federation. A broker serves one at a time: the topics have fixed names, so it must be its own."""

    def __init__(
        self,
        bootstrap: str,
        directory: Path,
        names: tuple[str, ...],
        *,
        dimension: int,
        head: m.HeadName = m.HeadName.CREDIT,
        secured: Secured | None = None,
    ) -> None:
        self.bootstrap, self.directory, self.names, self.dimension, self.head = bootstrap, directory, names, dimension, head
        self.secured = secured
        self.head_lines: tuple[str, ...] = ()  # More settings of the head.
        self.log = KafkaLog(bootstrap, tls=secured and secured.pki.tls(OPERATOR))
        self.parties = Credentials("troupe", names)
        self.layout = made_up_layout(head, dimension)
        self.cast = Cast(self.log, self.parties, head, self.layout.digest, dimension)
        self.workers: list[Worker] = []

    async def prepare(self, **aggregator: int) -> None:
        """Topics, certificates, the aggregator's key and settings."""
        if self.secured is None:
            await provision_topics(self.bootstrap, FEDERATION_TOPICS)
        else:
            await self.secured.apply(Wanted.federation("troupe", self.names))
        await self.parties.publish(self.log)
        self.write_settings(**aggregator)

    def write_settings(self, **aggregator: int) -> None:
        """The aggregator's key file and settings, with these over the defaults."""
        key_file = self.parties.write_key_file(self.directory / "aggregator.key", AGGREGATOR)
        waits = {"round_ms": 50, "masked_wait_ms": 10_000, "unmask_wait_ms": 10_000, "epoch_wait_ms": 10_000, **aggregator}
        lines = [
            "[federation]", 'name = "troupe"', f'bootstrap = "{self.bootstrap}"', f'ca_verify_key = "{self.parties.ca_verify_key.hex()}"',
            "[party]", f'name = "{AGGREGATOR}"', f'key_file = "{key_file}"',
            "[aggregator]", f'state_dir = "{self.directory}"',
            *(f"{name} = {value}" for name, value in waits.items()),
            f"[aggregator.heads.{self.head.value}]", "noise_multiplier = 0.0", "clip_quanta = 1000", "server_step = 1.0",
            *self.head_lines,
        ]  # fmt: skip
        if self.secured is not None:
            files = self.secured.pki.files(alone(Role.AGGREGATOR)).model_dump(mode="json", exclude_none=True)
            lines += ["[federation.tls]", *(f'{name} = "{path}"' for name, path in files.items())]
        self.config.write_text("\n".join(lines) + "\n")

    @property
    def config(self) -> Path:
        return self.directory / "aggregator.toml"

    def start(self) -> Worker:
        self.workers.append(Worker(self.config, self.dimension))
        return self.workers[-1]

    async def messages(self, topic: Topic, partition: int) -> list[m.Message]:
        """All that lies in a partition now, signatures checked."""
        reader = await self.log.reader([Position(topic.full_name(), partition, 0)])
        found: list[m.Message] = []
        end = (await reader.end_offsets())[topic.full_name(), partition]
        while len(found) < end:
            for record in await reader.poll(500, 1000):
                opened = open_record(record.value or b"", topic=topic, federation="troupe", verify=self.parties.directory.verify)
                found.append(opened.message)
        await reader.close()
        return found

    async def vectors(self) -> tuple[dict[bytes, np.ndarray], dict[bytes, np.ndarray]]:
        """By digest: the models that were published, and the groups' sums."""
        models, sums = ModelJoiner(), SumJoiner()
        vectors, totals = {}, {}
        for piece in await self.messages(MODELS, lane_partition(self.head)):
            if isinstance(piece, m.SumChunk):
                totals[piece.sum_digest] = sums.add(piece, sender=AGGREGATOR)
            else:
                vectors[piece.model_digest] = models.add(piece, sender=AGGREGATOR)  # None until the last piece.
        return vectors, totals

    async def check(self) -> None:
        """Every published model is the one before plus the plain mean of its contributors' vectors, bit for bit."""
        vectors, _ = await self.vectors()
        parameters = next(a.parameters for a in self.cast.said(m.EpochAnnounced) if isinstance(a, m.EpochAnnounced))
        assert self.cast.wrong_sums() == []
        model, version = np.zeros(self.dimension), 0
        for published in self.cast.published:
            if published.version <= version:
                continue  # Said twice; whoever reads the log takes the first.
            mean, _ = decode_sum(self.cast.plain_sum(published), parameters, len(published.contributors))
            model, version = next_model(model, mean), published.version
            assert (vectors[published.model_digest] == model).all()

    async def faults(self) -> list[tuple[str, str]]:
        entries = await self.messages(AUDIT, 0)
        return [(entry.action, entry.accused) for entry in entries if isinstance(entry, m.AuditEntry) and entry.topic == ""]

    async def close(self) -> None:
        for worker in self.workers:
            if worker.process.poll() is None:
                worker.process.kill()
            await worker.ended()
        await self.log.close()
