"""What bounds and hides one contribution: clipping and noise.

Called by an institution's preparation, before anything is masked.
Never decides how much noise is enough: that is an operator's setting.

    accountant   what contributions cost a customer, and the epsilon of it
    customers    one update per customer, each cut to an L2 norm and rounded, and their exact sum
    gaussian     exact discrete Gaussian noise; each institution's share of it
    randomness   uniform words and integers from a seed
"""
