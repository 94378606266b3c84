"""The embedded broker's configuration: server.properties, in plain text on this machine or with mutual TLS and access lists.

Called by riverbank.embedded.kafka.
Never lets anybody in without a certificate once it knows certificates, towards the controller neither."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from streams.access import Principal
from streams.settings import TlsSettings
from streams.tls import certified_principal

# The short broker session: a broker killed and started again may not register before its former self has timed out (9 s by default).
_PROPERTIES: Final = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{host}:{controller_port}
listeners=CLIENTS://{host}:{port},CONTROLLER://{host}:{controller_port}
advertised.listeners=CLIENTS://{host}:{port}
inter.broker.listener.name=CLIENTS
controller.listener.names=CONTROLLER
listener.security.protocol.map=CLIENTS:{protocol},CONTROLLER:{protocol}
log.dirs={logs}
auto.create.topics.enable=false
num.partitions=1
default.replication.factor=1
min.insync.replicas=1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=1
group.initial.rebalance.delay.ms=0
broker.session.timeout.ms=2500
broker.heartbeat.interval.ms=500
log.segment.bytes=67108864
log.cleaner.dedupe.buffer.size=8388608
log.cleaner.backoff.ms=1000
num.network.threads=2
num.io.threads=4
background.threads=2
"""

# Both listeners know everybody by certificate: whoever reached the controller in plain text could do as he pleased.
# This JVM runs without its second compiler, which alone has AES in hardware; ChaCha20 costs it half as much as AES then.
_TLS_PROPERTIES: Final = """\
ssl.client.auth=required
ssl.enabled.protocols=TLSv1.3
ssl.cipher.suites=TLS_CHACHA20_POLY1305_SHA256
ssl.keystore.type=PEM
ssl.keystore.location={shown}
ssl.truststore.type=PEM
ssl.truststore.location={authorities}
ssl.principal.mapping.rules=RULE:^CN=([a-z][a-z0-9-]*),OU=([a-z]+),O={federation}$/$1.$2/
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users={super_users}
"""

_LOGGING: Final = """\
status=error
appender.file.type=File
appender.file.name=file
appender.file.fileName={log}
appender.file.layout.type=PatternLayout
appender.file.layout.pattern=%d{{ISO8601}} %p %c{{1}}: %m%n
rootLogger.level=info
rootLogger.appenderRef.file.ref=file
"""


@dataclass(frozen=True, slots=True)
class BrokerTls:
    """Mutual TLS and access lists: the broker's own files, whose certificates count, and who is above the access lists.

    `files.ca_file` certifies everybody who may connect; their subjects are CN=party, OU=role, O=`federation`. The key is not encrypted.
    """

    files: TlsSettings
    federation: str
    super_users: tuple[Principal, ...] = ()

    @property
    def principal(self) -> Principal:
        """The broker's own."""
        return certified_principal(self.files.cert_file)

    def properties(self, shown: Path) -> str:
        """Their lines of server.properties; `shown` holds key and certificate together, as Kafka wants them."""
        above = ";".join(f"User:{each.name}" for each in (self.principal, *self.super_users))
        return _TLS_PROPERTIES.format(shown=shown, authorities=self.files.ca_file.absolute(), federation=self.federation, super_users=above)


def server_properties(*, host: str, port: int, controller_port: int, logs: Path, tls: BrokerTls | None, shown: Path) -> str:
    """The text of server.properties. `shown`: where key and certificate lie together, if there is `tls`."""
    protocol = "PLAINTEXT" if tls is None else "SSL"
    plain = _PROPERTIES.format(host=host, port=port, controller_port=controller_port, logs=logs, protocol=protocol)
    return plain if tls is None else plain + tls.properties(shown)


def logging_properties(log: Path) -> str:
    """The text of log4j2.properties."""
    return _LOGGING.format(log=log)
