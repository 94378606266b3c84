"""Invented institutions, customers, payments, applications and acquisitions, drawn from one recorded seed, without an end.

Called by `riverbank.feed` when no data sets are given; docs/data.md says what is drawn and when it drifts.
Never draws from anything but the seed: the same seed gives the same bytes."""
