"""A process with one Faust door, for the tests: `faust_child.py BOOTSTRAP GROUP TOPIC,TOPIC MODE`; a JSON line per happening.

Modes: `plain`; `slow` (0.2 s a record); `fail:N` (the handler of the record whose value is N raises).
Never imported."""

import asyncio
import json
import logging
import signal
import sys
import tempfile
from pathlib import Path

from aggregator_worker.app import FaustDoor, FaustTerms
from streams.ports import Record


def say(**fields: object) -> None:
    sys.stdout.write(json.dumps(fields) + "\n")
    sys.stdout.flush()


async def main(bootstrap: str, group: str, topics: str, mode: str) -> int:
    async def handle(record: Record) -> None:
        value = (record.value or b"").decode()
        say(starts=value)
        if mode == "slow":
            await asyncio.sleep(0.2)
        if mode == f"fail:{value}":
            raise ValueError(value)
        say(handled=value, topic=record.topic, partition=record.partition, offset=record.offset, timestamp_ms=record.timestamp_ms)

    async def assigned(partitions: frozenset[tuple[str, int]]) -> None:
        say(assigned=sorted(partitions))

    stop = asyncio.Event()
    failures: list[BaseException] = []

    def failed(failure: BaseException) -> None:
        failures.append(failure)
        stop.set()

    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    door = FaustDoor(
        FaustTerms(group, bootstrap, "test", Path(tempfile.gettempdir()) / group),
        dict.fromkeys(topics.split(","), handle),
        assigned,
        failed,
    )
    await door.start()
    say(started=True)
    await stop.wait()
    if failures:
        say(failed=repr(failures[0]))
    await door.stop()
    say(stopped=True)
    return 1 if failures else 0


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    sys.exit(asyncio.run(main(*sys.argv[1:])))
