"""Random numbers that depend on (seed, epoch, image) alone, for all images of a batch at once.

Counter-based: number i of a key is a function of the key and i, so that neither a batch nor an order nor a process
has a state. SplitMix64 (Steele, Lea and Flood, Fast Splittable Pseudorandom Number Generators, OOPSLA 2014).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np

_GAMMA = np.uint64(0x9E3779B97F4A7C15)


def name_digests(names: Iterable[str]) -> np.ndarray:
    """(N,) uint64 of the images' names: once for a data set."""
    digests = b"".join(hashlib.blake2b(name.encode(errors="surrogatepass"), digest_size=8).digest() for name in names)
    return np.frombuffer(digests, ">u8").astype(np.uint64)


def image_keys(seed: int, epoch: int | np.ndarray, digests: np.ndarray) -> np.ndarray:
    """(N,) uint64: the images' keys in an epoch, or in (N,) epochs; `digests` (N,) are those of `name_digests`."""
    run = _mix(np.array([seed % 2**64], np.uint64) + _GAMMA)
    return _mix(_mix(run ^ np.asarray(epoch).astype(np.uint64)) ^ digests)


def uniforms(keys: np.ndarray, count: int, first: int = 0) -> np.ndarray:
    """(N, count) float64, even over 0 ≤ u < 1: the numbers from `first` on of (N,) uint64 keys."""
    counters = np.arange(first + 1, first + count + 1, dtype=np.uint64) * _GAMMA
    return (_mix(keys[:, None] + counters) >> np.uint64(11)) * 2.0**-53


def _mix(bits: np.ndarray) -> np.ndarray:
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))
