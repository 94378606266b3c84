"""What a person runs: the command line, the demo, the embedded broker, provisioning and data sets.

Called by the `riverbank` console script.
Never imported by anything below it."""
