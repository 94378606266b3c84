"""The Faust door: partitions of topics handed to handlers, one record at a time per topic, shared among the workers of a group.

Called by `wiring`; the only module that imports Faust.
Never lets correctness rest on a group's offsets: a record may come twice or not at all, and a handler that fails is the end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import faust
from mode.threads import ServiceThread, WorkerThread

from streams.ports import Record
from streams.tls import Tls

Handler = Callable[[Record], Awaitable[None]]
Partition = tuple[str, int]
OnAssigned = Callable[[frozenset[Partition]], Awaitable[None]]

# A dead worker's partitions are taken over after this; the broker's group.min.session.timeout.ms is 6 s unless lowered.
SESSION_S: Final = 6.0
HEARTBEAT_S: Final = 2.0
COMMIT_S: Final = 1.0
# Records waiting for a handler, of a topic: chunks have 256 KiB, so that a burst costs 8 MiB instead of the 1 GiB of Faust's default.
BUFFERED_MAX: Final = 32


@dataclass(frozen=True)
class FaustTerms:
    """How to join: `group` shares the partitions, `bootstrap` is host:port, comma-separated, `directory` is Faust's own, `tls` None is plain text."""

    group: str
    bootstrap: str
    client_id: str
    directory: Path
    tls: Tls | None = None


class _Thread(WorkerThread):
    """A thread of Faust's that does not keep alive a process that has failed."""

    def __init__(self, service: ServiceThread, **kwargs: Any) -> None:
        super().__init__(service, **kwargs)
        self.daemon = True


class FaustDoor:
    """One Faust app: one per process, because the library keeps state in classes."""

    def __init__(
        self, terms: FaustTerms, handlers: Mapping[str, Handler], on_assigned: OnAssigned, on_failure: Callable[[BaseException], None]
    ) -> None:
        """`handlers`: full topic name -> handler. `on_assigned` hears every change of this worker's partitions.

        `on_failure` hears of a handler that failed; its record will not be committed, and its topic is not handled any more.
        """
        ServiceThread.Worker = _Thread
        self.assigned: frozenset[Partition] = frozenset()
        self.handled: dict[Partition, int] = {}  # Offset + 1 of the newest, of partitions now assigned.
        self._on_assigned: Final = on_assigned
        self._on_failure: Final = on_failure
        self._app: Final[Any] = faust.App(terms.group, **_options(terms))
        for topic, handler in handlers.items():
            self._listen(topic, handler)
        self._app.on_partitions_assigned.connect(self._note_assigned, weak=False)

    async def start(self) -> None:
        """Join the group; returns once this worker has its partitions, which may be none while others have them all."""
        await self._app.start()

    def crashed(self) -> BaseException | None:
        """Why Faust stopped by itself, if it did."""
        return (self._app.crash_reason or RuntimeError("no reason given")) if self._app.should_stop else None

    async def stop(self) -> None:
        """Leave the group, offsets of handled records committed.

        The only way out: Faust's tasks do not heed cancellation. May hang with the broker: whoever calls it sets a limit.
        """
        await self._app.stop()

    def _listen(self, topic: str, handler: Handler) -> None:
        channel = self._app.topic(topic, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw")

        async def listen(stream: Any) -> None:
            # Acknowledged by hand: a stream that is stopped acknowledges the record in hand, whether or not its handler is done.
            async for event in stream.noack().events():
                message = event.message
                timestamp_ms = round(message.timestamp * 1000)
                record = Record(message.topic, message.partition, message.offset, message.key, message.value, timestamp_ms)
                try:
                    await handler(record)
                except Exception as failure:  # noqa: BLE001 Reported, to be raised by whoever runs the process.
                    self._on_failure(failure)
                    await asyncio.Event().wait()  # For ever: a record whose handler failed is not acknowledged.
                self.handled[record.topic, record.partition] = record.offset + 1
                event.ack()

        # Concurrency 1: with more, Faust commits past a record that is still being handled (faust-streaming#606).
        self._app.agent(channel, name=f"{topic}-handler", concurrency=1)(listen)

    async def _note_assigned(self, _app: Any, /, *signalled: Any, **_: Any) -> None:
        self.assigned = frozenset((partition.topic, partition.partition) for partition in signalled[0])
        self.handled = {partition: offset for partition, offset in self.handled.items() if partition in self.assigned}
        try:
            await self._on_assigned(self.assigned)
        except Exception as failure:  # noqa: BLE001 As in listen(); Faust would log it and go on.
            self._on_failure(failure)


def _options(terms: FaustTerms) -> dict[str, Any]:
    hosts = terms.bootstrap.split(",")
    return {
        "broker": [f"kafka://{host.strip()}" for host in hosts],
        "broker_client_id": terms.client_id,
        "broker_credentials": None if terms.tls is None else faust.SSLCredentials(context=terms.tls.context),
        "broker_session_timeout": SESSION_S,
        "broker_heartbeat_interval": HEARTBEAT_S,
        "broker_rebalance_timeout": 10.0,
        "broker_request_timeout": 20.0,
        "broker_commit_interval": COMMIT_S,
        "broker_max_poll_records": 500,
        "consumer_auto_offset_reset": "earliest",
        "processing_guarantee": "at_least_once",
        "stream_buffer_maxsize": BUFFERED_MAX,
        "stream_wait_empty": False,  # Waits for ever behind a handler that hangs.
        "stream_recovery_delay": 0.0,
        "store": "memory://",
        "datadir": str(terms.directory),
        "topic_allow_declare": False,  # Provisioning makes topics, with their rights and retention.
        "topic_disable_leader": True,
        "web_enabled": False,  # Its port shows routes and tables to whoever asks.
        "autodiscover": False,
        "key_serializer": "raw",
        "value_serializer": "raw",
    }
