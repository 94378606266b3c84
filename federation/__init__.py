"""What the protocol is: pure functions of (state, event).

`rounds` is both sides' state machine, `secagg` its cryptography, `privacy` clipping and noise, `heads` what is
learned, `merge` the step from an opened sum to the next global model.
Never waits: no clock, socket, thread or entropy of its own; the import contracts in pyproject.toml say so."""
