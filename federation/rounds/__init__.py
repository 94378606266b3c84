"""Both sides of the round as one protocol: `phases` is the table, `coordinator` and `participant` the steps.

Called by `aggregator_worker` and `institution_workers`.
Never does what it decides: it returns effects."""
