"""`riverbank doctor`: what would keep a process from working well, found before it matters, each with its repair.

Called by the CLI.
Never changes anything, and never prints a secret."""
