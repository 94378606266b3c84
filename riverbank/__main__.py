"""`python -m riverbank`: the same as the `riverbank` script.

Started by the demo's supervisor.
Never does anything itself."""

from riverbank.cli import main

main()
