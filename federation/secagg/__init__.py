"""Secure aggregation: how a cohort's vectors are added while nobody sees any one of them.

Called by `federation.rounds` (both sides) and by the workers' shells for keys and certificates.
Never knows the order of a round: who may say what, and when, is decided in `federation.rounds`.

    keys          Secret, purpose-bound key derivation, Ed25519 signatures, X25519
    certificates  the CA's word on a party's keys; the registry that checks every signature; a party's key file
    ring          vectors modulo 2^32
    quantize      floats -> ring and back; error and sensitivity stated
    agreement     two members' keys -> the seed of their pair mask; the keys that hang on a shared secret
    masks         seeds -> masks; applied by a member, removed from the sum by the aggregator
    shares        Shamir split and combine of the secrets behind seeds and round keys
    sealing       shares boxed to a peer, bodies sealed to the aggregator
    secure_sum    the interface of one round's sum, whatever hides the addends
    masked_sum    ... masks, without a log; `federation.rounds` runs the same steps as records
    paillier_sum  ... threshold Paillier, for small models (docs/paillier.md)
        paillier, paillier_proof, paillier_dealer, packing, bigint    what it stands on

One member's masked vector (Bonawitz et al., CCS 2017, section 4), everything modulo 2^32:

    y_i = encode(x_i) + noise_i + PRG(b_i) + sum_{j>i} PRG(k_ij) - sum_{j<i} PRG(k_ij)

The sum over the survivors still carries each survivor's PRG(b_i), and PRG(k_ij) for each dropped j. The members' shares
rebuild b_i of every survivor or the round secret of every dropped member, never both of one: the sum opens, an update
does not.
"""
