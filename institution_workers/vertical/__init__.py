"""One party of a vertical partnership: a process of its own, since its arithmetic takes seconds at a time.

    wiring     the constructor list; `run(settings)`
    worker     loops over own events, requests, runs, joint scores and status
    intake     own events: people, their features, their labels
    people     who they are, who is shared, in which row; the tables in the state file
    runs       the cores' steps: saved before said
    parcels    a message cut into sealed records, and joined again
    bank_desk  what the bank looks up, begins and remembers
    partner_desk    what the partner lets happen
    scores     joint predictions, with a deadline and a one-party answer

Started by the CLI through `wiring.run`; docs/vertical.md says what crosses and what it tells.
Never lets a name, a feature, a label or a score of a training row leave in the clear."""
