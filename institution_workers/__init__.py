"""The data holder: it alone reads its customers' events, learns from them, and takes part in rounds that hide its part.

    wiring          the constructor list; `run(settings)`
    worker          one event loop: learning, rounds and status take turns, whatever the brokers do
    learning        own cluster: arrivals taken, a turn studied, sayings said
    arrivals        several topics in the order in which the log received them
    study           one turn over own records: learned and saved together with offsets and journal
    ingest          a record becomes an event or a refusal
    learner         events in, lessons out: scored when they happen, learned once, when their label comes
    recall          ids seen, decisions that wait, labels that came early, profiles
    pupil           one head: federated and local-only model, what they rest on, how good they are
    participation   own part in the rounds: steps of the protocol's core, saved before said
    preparation     the only road out: clip, weigh, round, add noise
    global_models   vectors named by the rounds' log
    parties         certificates, and records opened against them
    storage saving  the SQLite state, and what of the above lies in it
    speaker         says what the journal holds, in its order

Started by the CLI through `wiring.run`.
Never lets a raw event, a customer's name or an unmasked update leave the institution's own cluster."""
