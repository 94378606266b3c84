"""The aggregator: opens rounds, adds what it cannot read, publishes what comes out.

`wiring` puts the process together; `app` is the door to Faust; `agents` gives records to the `head_shell`s (the rounds of a head)
and the `chunk_owner`s (sums of masked chunks, `chunk_sums`); `past` and `rereading` find again what a restart forgot.
Never holds a key that opens one institution's update."""
