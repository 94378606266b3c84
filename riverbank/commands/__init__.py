"""The command line's nouns, a module each.

Mounted by `riverbank.cli`.
Never imports a role's package before its command runs: `--help` must not pay for River or Kafka."""
