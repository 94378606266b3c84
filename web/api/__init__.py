"""The JSON API beside look-ups and feedback (`web.handlers`): people, sessions, keys, and the document that describes all of it.

Named by `web.routes`.
Never answers an error with anything but a problem document (RFC 9457)."""
