"""One direction of a training pass with python-paillier, as in Hardy et al.: encrypt residuals, sum them by bin, decrypt. Prints JSON.

Run by benchmarks/vertical.py in an interpreter of its own, `python phe_pass.py ROWS FEATURES BINS BITS`: phe is GPL.
Never imports Riverbank."""

from __future__ import annotations

import json
import random
import sys
import time

from phe import paillier


def main(rows: int, features: int, bins: int, bits: int) -> None:
    """Processor seconds: per row (one encryption, one addition per feature), and fixed (one decryption per bin)."""
    public, private = paillier.generate_paillier_keypair(n_length=bits)
    draw = random.Random(1)
    residuals = [draw.uniform(-1, 1) for _ in range(rows)]
    chosen = [[draw.randrange(bins) + bins * feature for feature in range(features)] for _ in range(rows)]
    began = time.process_time()
    # One exponent for all, as python-paillier's own examples do, so that additions need not align.
    encrypted = [public.encrypt(residual, precision=2**-24) for residual in residuals]
    sums: dict[int, paillier.EncryptedNumber] = {}
    for number, coordinates in zip(encrypted, chosen, strict=True):
        for coordinate in (*coordinates, -1):
            sums[coordinate] = sums[coordinate] + number if coordinate in sums else number
    blinded = {coordinate: total + draw.uniform(-1000, 1000) for coordinate, total in sums.items()}
    middle = time.process_time()
    for total in blinded.values():
        private.decrypt(total)
    ended = time.process_time()
    print(json.dumps({"per_row_seconds": (middle - began) / rows, "fixed_seconds": ended - middle}))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
