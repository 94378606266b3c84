"""Folds from messages to what a page or an answer shows, one file per subject.

Fed by `web.feed`; read by `web.handlers`.
Never reads a topic or a clock itself."""
