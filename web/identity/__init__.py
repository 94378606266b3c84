"""Who a person is and what they may do: passwords, one-time codes, sessions, invitations, roles, API keys.

Used by `web.guard` on every request and by the pages and the API that manage it.
Never knows of HTTP: what it is told are values, what it answers are values."""
