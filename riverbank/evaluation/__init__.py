"""What federation is worth: the workers' own code over known data, alone, together and pooled, scored before it learns.

    sets             the named data sets: who the institutions are, when labels come, how often a round is held
    variants         what is compared: local, federated (plain, masked, noised), pooled, a plain River pipeline
    course           one pass over a set's arrivals: records learned, rounds held when they are due
    institution      one institution's study on a throw-away state, and what it said before it knew
    plain masked     two ways to hold a round: the same integers summed in the open, or the whole protocol over a log in memory
    judgments        predictions kept one by one, and their exact quality
    plain_river      the yardstick: River's StandardScaler | LogisticRegression, alone and over the merged stream
    results          what came of all variants of a set, as plain data
    tables           the same for a person: terminal and Markdown

Called by `riverbank evaluate` and the tests (docs/evaluation.md).
Never reads a clock and never draws from the machine's entropy: a seed, a set and the options are the whole input."""
