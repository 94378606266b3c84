"""The parts of the stack that run without any installation: a Kafka broker out of pinned jars.

Called by the demo, the CLI and the tests.
Never used in production, where settings name real brokers."""
