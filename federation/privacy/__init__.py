"""What bounds and hides one contribution: clipping and noise.

Called by an institution's preparation, before anything is masked.
Never decides how much noise is enough: that is an operator's setting.

    clipping   an update cut to an L2 norm, exactly
    gaussian   exact discrete Gaussian noise; each institution's share of it
"""
