"""How messages travel: topics, the Avro codec, the Kafka door, the in-memory log and the ports between them.

Used by the workers, the audit and the portal.
Never decides anything: the protocol stands in `federation`."""
