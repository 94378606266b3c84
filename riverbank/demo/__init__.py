"""The demo: a whole federation on this machine, every party in a process of its own.

`stack` starts it, `watch` follows it, `lookups` asks it, `screen` shows it, `run` puts these together.
Never a different program: the parties run exactly what a deployment runs."""
