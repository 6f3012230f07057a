"""Random numbers per sample, independent of processes.

The random numbers of a sample are a function of (seed, epoch, index of the sample, draw index). They do not depend on
batch size, number of workers, rank or order of calls. The four integers are hashed to a 64-bit key, which starts a
splitmix64 sequence (Steele, Lea and Flood 2014, "Fast splittable pseudorandom number generators"): the j-th word is
``mix(key + (j + 1) * golden)``. No state is kept between calls, and no global generator is reseeded. Without a seed,
one number from torch's default generator replaces it in each call (`drawn_seed`).

Normal numbers are always computed with numpy on the host, because logarithms and cosines of different libraries differ
in the last bit.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
from collections.abc import Iterator, Sequence
from typing import Any, overload

import numpy as np
import torch

from .transfer import sent

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_27, _30, _31, _32 = np.uint64(27), np.uint64(30), np.uint64(31), np.uint64(32)
# 2^-32 and 2 pi 2^-32, created once to save time for a batch of one.
_UNIT, _TURN = np.float32(2**-32), np.float32(2 * np.pi * 2**-32)
_MASK64 = (1 << 64) - 1

Integers = int | Sequence[int] | np.ndarray


@overload
def mix(words: int) -> int: ...
@overload
def mix(words: np.ndarray) -> np.ndarray: ...
def mix(words: int | np.ndarray) -> int | np.ndarray:
    """Compute the output function of splitmix64 for one word in [0, 2^64), or for each element of a uint64 array."""
    if isinstance(words, int):
        word = (words ^ words >> 30) * int(_FIRST) & _MASK64
        word = (word ^ word >> 27) * int(_SECOND) & _MASK64
        return word ^ word >> 31
    if words.size == 1:  # numpy takes ten times as long as Python for one number
        return np.full(words.shape, mix(int(words.item())), np.uint64)
    mixed = words ^ (words >> _30)
    mixed *= _FIRST
    mixed ^= mixed >> _27
    mixed *= _SECOND
    mixed ^= mixed >> _31
    return mixed


def sample_keys(seed: int, epoch: int, index: Integers, draw_index: Integers = 0) -> np.ndarray:
    """Hash (seed, epoch, index, draw_index) to one uint64 key per sample; `index` and `draw_index` are broadcast."""
    key = mix(mix(_hashed(int(seed))) ^ _hashed(int(epoch)))
    for part in (index, draw_index):
        key = mix(key ^ _hashed(part))
    return np.full(1, key, np.uint64) if isinstance(key, int) else key


def _hashed(part: Integers) -> Any:  # int or uint64 (n,)
    """Return the hash of one number as an integer, those of several as uint64 (n,)."""
    if isinstance(part, int):
        return mix(part + int(_GOLDEN) & _MASK64)
    words = np.asarray(part).astype(np.int64).astype(np.uint64).reshape(-1)
    return _hashed(words.item()) if words.size == 1 else mix(words + _GOLDEN)


def drawn_seed() -> int:
    """Draw a 63-bit number from torch's default generator, as a `DataLoader` draws its base seed.

    Therefore `torch.manual_seed` reproduces a run. In a loader worker the number depends on the seed of the worker.
    """
    return int(torch.empty((), dtype=torch.int64, device="cpu").random_())


def fold(seed: int, *parts: int | str) -> int:
    """Return a new 63-bit seed that depends on `seed` and on every part, for one purpose or one step."""
    key = int(seed) & _MASK64
    for part in parts:
        if isinstance(part, str):
            part = int.from_bytes(hashlib.blake2b(part.encode(), digest_size=8).digest(), "little")
        key = mix(key ^ _hashed(part))
    return int(key) >> 1


def torch_generator(device: torch.device | str, seed: int, *parts: int | str) -> torch.Generator:
    """Return a new torch generator for one purpose or step. Create it where it is used: it cannot be pickled."""
    return torch.Generator(device).manual_seed(fold(seed, *parts))


@contextlib.contextmanager
def seeded(seed: int, *parts: int | str, device: torch.device | str = "cpu") -> Iterator[None]:
    """Seed torch's global generators inside the context, for code that uses only these, such as weight initialisation.

    The generators of the CPU and of `device` are restored at the end; others are not changed.
    """
    device, key = torch.device(device), fold(seed, *parts)
    before = torch.get_rng_state()
    torch.default_generator.manual_seed(key)
    with contextlib.nullcontext() if device.type == "cpu" else _seeded_accelerator(device, key):
        try:
            yield
        finally:
            torch.set_rng_state(before)


@contextlib.contextmanager
def _seeded_accelerator(device: torch.device, key: int) -> Iterator[None]:
    module = torch.get_device_module(device)
    before = module.get_rng_state(device)
    module.set_rng_state(torch.Generator(device).manual_seed(key).get_state(), device)
    try:
        yield
    finally:
        module.set_rng_state(before, device)


def pixel_fingerprints(images: torch.Tensor) -> np.ndarray:
    """Return an int64 index per image (B,C,H,W): a hash of its pixels as uint8.

    It replaces the index of a sample if that is unknown, as in a transform pipeline.
    """
    if images.is_floating_point():
        images = images.detach().mul(255).round().to(torch.uint8)
    rows = np.ascontiguousarray(images.cpu().numpy())
    return np.asarray(
        [int.from_bytes(hashlib.blake2b(row.data, digest_size=8).digest(), "little", signed=True) for row in rows],
        np.int64,
    )


class SampleRandom:
    """One random sequence per sample, drawn for all n samples at once.

    Every call uses the next words of the sequence of each sample, so row i of a draw does not depend on the other
    samples of the batch.

    >>> random = SampleRandom(sample_keys(seed=0, epoch=0, index=range(4)))
    >>> random.normal(2, 3).shape
    torch.Size([4, 2, 3])
    """

    def __init__(self, keys: np.ndarray, device: torch.device | str = "cpu"):
        self._keys = np.ascontiguousarray(keys, np.uint64)
        self._device = torch.device(device)
        self._drawn = 0

    def __len__(self) -> int:
        return len(self._keys)

    def take(self, rows: np.ndarray) -> SampleRandom:
        """Return the sequences of some of the samples, from their current position."""
        part = SampleRandom(self._keys[rows], self._device)
        part._drawn = self._drawn
        return part

    def bernoulli(self, p: float) -> np.ndarray:
        """Draw bool (n,) on the host, true with probability `p`."""
        if p == 1:  # uses one word, as for other values
            self._drawn += 1
            return np.ones(len(self), bool)
        return (self._words(1)[:, 0] >> np.uint64(11)).astype(np.float64) * 2.0**-53 < p

    def uniform(self, *shape: int) -> torch.Tensor:
        """Draw float32 (n, *shape), uniform on [0, 1)."""
        words = self._words(math.prod(shape))
        return self._tensor((words >> np.uint64(40)).astype(np.float32) * np.float32(2**-24), shape)

    def normal(self, *shape: int) -> torch.Tensor:
        """Draw float32 (n, *shape), standard normal, by the Box-Muller transform: two numbers per word."""
        count = math.prod(shape)
        words = self._words((count + 1) // 2)
        half = words.shape[1]
        # 32 bits per uniform number. The first is in (0, 1], so that its logarithm is finite.
        radius = (words >> _32).astype(np.float32)
        radius += 1
        radius *= _UNIT
        radius = np.sqrt(-2 * np.log(radius))
        angle = words.astype(np.uint32).astype(np.float32)
        angle *= _TURN
        pairs = np.empty((len(words), 2 * half), np.float32)
        np.multiply(radius, np.cos(angle), out=pairs[:, :half])
        np.multiply(radius, np.sin(angle), out=pairs[:, half:])
        return self._tensor(pairs[:, :count], shape)

    def _words(self, count: int) -> np.ndarray:
        steps = np.arange(self._drawn + 1, self._drawn + count + 1, dtype=np.uint64) * _GOLDEN
        self._drawn += count
        return mix(self._keys[:, None] + steps)

    def _tensor(self, values: np.ndarray, shape: tuple[int, ...]) -> torch.Tensor:
        return sent(torch.from_numpy(np.ascontiguousarray(values).reshape(len(self), *shape)), self._device)
