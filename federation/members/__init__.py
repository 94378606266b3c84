"""Who may speak: keys, the CA's certificates for them, an operator's word on how each party stands, and what follows from the two.

`directory` is what a shell asks; `certificates` and `standings` make what is published, `keys` and `locking` what is kept.
Never knows a clock or a log: times are those of records, or are passed in."""
