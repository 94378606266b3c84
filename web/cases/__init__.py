"""What officers work on: cases made from flagged events, what may happen to them, and what their decisions teach.

Used by `web.pages.queue`, `web.pages.case` and the API.
Never decides who may log in: a person's id and role are given."""
