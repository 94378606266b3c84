"""Avro schemas (`avro/`) and feature schemas (`features/`), shipped as package files.

Read by `streams.schemas` (Avro) and `federation.heads` (features).
Never holds code: a message is born in an `.avsc` file and nowhere else."""
