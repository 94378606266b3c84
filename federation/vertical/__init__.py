"""Two parties, one customer: a scorecard whose features lie half at a bank and half at a partner.

Called by `institution_workers.vertical` (both sides); the argument for it is in docs/vertical.md.
Never shows one side the other's customers outside the agreed overlap policy, its features, its labels or its points of a training row.

    ristretto     the group: the one door to rbcl
    intersection  which customers are shared, or how many: Diffie-Hellman on blinded names
    linkage       ... whose names are only similar: keyed Bloom filters, compared by a third party
    membership    ... with an outcome that neither side is shown: bits split between the two
    shuffling     orders that say nothing
    encryption    Paillier under one party's key, fast for its holder
    fixed_point   reals as small whole numbers in slots; every bound and error, proved at import
    exchange      the one primitive: my numbers under encryption, your columns, the sums for you alone
    tables        what is exchanged: the residual of every row for every score the other may have given it
    scorecard     one side's half: its columns, its Newton step, what its rows have taught it
    training      one side's training under way, and what is done with the sums
    rehearsal     a training without encryption, to the same last bit
    phases        who may say what, when
    run           replay, order, phase: what holds for whatever is heard
    bank partner  the two state machines
    saved         a party's state as a record, and back
"""
