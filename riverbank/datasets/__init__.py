"""Adapters that turn known data sets into streams of arrivals, one module per data set (docs/data.md).

Called by `riverbank.feed` through `selection`.
Never changes a file, never keeps a row, and never gives a head what was not known when the event happened."""
