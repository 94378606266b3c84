"""Pages for people, one module per errand.

Named by `web.routes`.
Never holds a rule: who may is `web.access`'s, what is allowed `web.identity`'s."""
