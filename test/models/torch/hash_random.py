"""The numbers of models/hash-random.ts again, and the tensors that both sides make of them."""

import math

import numpy as np

MASK = 0xFFFFFFFF


def stream_key(name, seed):
    """FNV-1a, 32 bits, over the UTF-8 bytes of "seed/name"."""
    value = 0x811C9DC5
    for byte in f"{seed}/{name}".encode():
        value = ((value ^ byte) * 0x01000193) & MASK
    return value


def uniform(count, key, low, high):
    """Numbers 0..count-1 of a stream in [low, high), as float32."""
    x = (np.arange(count, dtype=np.uint64) * 0x9E3779B1 + key).astype(np.uint32)
    x = (x ^ (x >> 16)) * np.uint32(0x21F0AAAD)
    x = (x ^ (x >> 15)) * np.uint32(0x735A2D97)
    x = x ^ (x >> 15)
    return (low + (x >> 8).astype(np.float64) * ((high - low) / 2**24)).astype(np.float32)


def bounds(name, shape):
    """Where the values of a tensor lie: He's bound for kernels, moderate ones for batch norms and biases."""
    if len(shape) > 1:
        bound = math.sqrt((3 if len(shape) == 2 else 6) / math.prod(shape[1:]))
        return -bound, bound
    if name.endswith("running_var") or name.endswith("weight"):
        return 0.5, 1.5
    if name.endswith("running_mean"):
        return -0.5, 0.5
    return -0.2, 0.2


def tensor(name, shape, seed):
    low, high = bounds(name, shape)
    return uniform(math.prod(shape), stream_key(name, seed), low, high).reshape(shape)
