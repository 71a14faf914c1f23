"""Random numbers as a pure function of the seed, their purpose and their indices (epoch, row, step …).

There is no generator state, so a checkpoint saves none: a resumed run draws the same numbers.
"""

from __future__ import annotations

import numpy as np

# What a number is drawn for. The same seed and indices give unrelated numbers for two purposes.
ROW_ORDER, STEP, DEV_SPLIT, DEVICE_TRIAL, BOOTSTRAP, RANDOM_PAIRS, LOSS_WEIGHTS, POSITIVES_ORDER = range(1, 9)


def splitmix64(values: np.ndarray) -> np.ndarray:
    """The output function of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014), elementwise on uint64, modulo 2^64.

    >>> hex(int(splitmix64(np.uint64([0]))[0]))  # the generator's first output for seed 0
    '0xe220a8397b1dcdaf'
    """
    values = values + np.uint64(0x9E3779B97F4A7C15)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def derive(seed: int, purpose: int, *indices: int | np.ndarray) -> np.ndarray:
    """64 random bits for each combination of indices, uint64 (n,). Each of `indices` is an integer or an array (n,), n ≥ 1."""
    state = splitmix64(np.array([seed], dtype=np.uint64) ^ splitmix64(np.array([purpose], dtype=np.uint64)))
    for index in indices:
        state = splitmix64(state ^ np.atleast_1d(np.asarray(index)).astype(np.uint64))
    return state


def derive_seed(seed: int, purpose: int, *indices: int) -> int:
    """One number of `derive` as a seed for torch.manual_seed: an integer from 0 to 2^63 - 1.

    >>> derive_seed(42, STEP, 0) == derive_seed(42, STEP, 0) != derive_seed(42, STEP, 1)
    True
    """
    return int(derive(seed, purpose, *indices)[0] >> np.uint64(1))
