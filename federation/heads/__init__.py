"""What is learned: credit, fraud and product scorecards behind one `Head` protocol.

`head` is the protocol, `scorecard` the River learner (importing it costs a second and 80 MB), `scoring` the same score
from a bare vector, `credit`, `fraud` and `products` turn events into coordinates, `prequential` keeps the quality.
Never imports River from here: the portal scores without it."""
