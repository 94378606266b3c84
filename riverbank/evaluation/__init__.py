"""What federation is worth: the workers' own code over known data, alone, together and pooled, scored before it learns.

    command          what was asked for, gone through variant by variant, in one process or several
    sets held_out    the named data sets: who the institutions are, when labels come, what is asked at the end
    variants         what is compared: local, federated (plain, masked, noised), pooled, a plain River pipeline
    course passage   one pass over a set's arrivals: records learned, rounds held when they are due
    institution      one institution's study on a throw-away state, and what it said before it knew
    grouped          a head in groups, and institutions that poison: in the open
    plain masked     two ways to hold a round: the same integers summed in the open, or the whole protocol over a log in memory
    judgments        predictions kept one by one, and their exact quality
    immunity         how soon a fraud that strikes one institution is recognised at the others
    plain_river      the yardstick: River's StandardScaler | LogisticRegression, alone and over the merged stream
    results          what came of all variants of a set, as plain data
    tables plots report   the same for a person: terminal, Markdown, a page with pictures
    vertical         two parties with other columns of the same customers, apart and joined

Called by `riverbank evaluate` and the tests (docs/evaluation.md).
Never reads a clock and never draws from the machine's entropy: a seed, a set and the options are the whole input."""
