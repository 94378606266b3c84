"""Evidence packs: what an audit holds about one model release or one decision, with proofs that anybody can check.

Called by `riverbank audit export`.
Never holds a customer's name or a feature."""
