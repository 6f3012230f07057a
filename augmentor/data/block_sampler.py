"""`BlockSampler`: a resumable shuffle that reads a large data set block by block."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from torch.utils.data import Sampler

from .._internal.random import fold, sample_keys
from ..exceptions import InputError
from .ranks import process_rank

_UNNAMED_BLOCK = 256


class BlockSampler(Sampler[int]):
    """Sampler of a random order in which samples that are stored together are read at about the same time.

    Blocks (for shards: about 64 KiB of one file) are in random order, and the samples of `window` successive blocks
    are shuffled together. An epoch reads every block once, and a reader that caches the blocks of one window, as
    `ShardDataset` does, decompresses every block once.

    The order depends only on (seed, epoch). Call `set_epoch` for a new order; otherwise all epochs have the same order.
    Pass the sampler to a loader as ``sampler=``.

    dataset: data set with an attribute `blocks`, such as `ShardDataset`; without it, a block is 256 samples.
    window: number of blocks shuffled together. More blocks mix better and need more memory.
    rank, num_replicas: part of the order that this process draws. Default: those of `torch.distributed`, if
        initialised. Parts have equal length: the last one continues at the beginning of the order, or, with
        `drop_last`, the remaining samples are dropped.

    torchdata's `StatefulDataLoader` uses `state_dict` and `load_state_dict`. With a plain `DataLoader`, save the state
    with the model; after loading it, `iter(loader)` resumes there. Loader workers draw samples in advance, so with
    workers give the number of samples used in training: ``sampler.state_dict(taken=steps * batch_size)``.

    Raises `InputError` for invalid arguments, and for the state of another order.

    >>> sampler = BlockSampler(range(1000), seed=1)
    >>> epoch = list(sampler)
    >>> again = BlockSampler(range(1000), seed=1)
    >>> again.load_state_dict(sampler.state_dict(taken=600))
    >>> list(again) == epoch[600:]
    True
    """

    def __init__(
        self,
        dataset: Any,
        *,
        seed: int = 0,
        window: int = 64,
        rank: int | None = None,
        num_replicas: int | None = None,
        drop_last: bool = False,
    ):
        if rank is None and num_replicas is None:
            rank, num_replicas = process_rank()
        if rank is None or num_replicas is None or not 0 <= rank < num_replicas:
            raise InputError(f"rank must be from 0 to num_replicas - 1, got rank={rank} of {num_replicas}")
        if window < 1:
            raise InputError(f"window must be at least 1 block, got {window}")
        blocks = getattr(dataset, "blocks", None)
        self._blocks = np.append(np.arange(0, len(dataset), _UNNAMED_BLOCK), len(dataset)) if blocks is None else blocks
        self.samples = len(dataset)
        if self.samples < (num_replicas if drop_last else 1):
            least = num_replicas if drop_last else 1
            raise InputError(f"got {self.samples} samples for {num_replicas} ranks; expected at least {least}")
        self.seed, self.window, self.epoch = seed, window, 0
        self.rank, self.num_replicas, self.drop_last = rank, num_replicas, drop_last
        self._taken = self._start = 0

    def __len__(self) -> int:
        """Return the number of samples per epoch of this rank."""
        return (self.samples if self.drop_last else self.samples + self.num_replicas - 1) // self.num_replicas

    def __iter__(self) -> Iterator[int]:
        taken, self._start = self._start, 0
        self._taken = taken
        order, ends = self._windows()
        while taken < len(self):
            place = (self.rank * len(self) + taken) % self.samples
            number = int(np.searchsorted(ends, place, "right"))
            samples = self._window(order[number * self.window : (number + 1) * self.window])
            first = place - (int(ends[number]) - len(samples))
            for sample in samples[first : first + len(self) - taken].tolist():
                self._taken = taken = taken + 1
                yield sample

    @property
    def start(self) -> int:
        """Number of samples that the next `iter` skips, because they were drawn before."""
        return self._start

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch of the next `iter`. A loaded state applies only to its own epoch."""
        if epoch != self.epoch:
            self.epoch, self._start, self._taken = epoch, 0, 0

    def state_dict(self, taken: int | None = None) -> dict[str, int]:
        """Return the position in the epoch and the settings of the order, as integers.

        taken: number of samples of the epoch that this rank has used. Default: the number drawn.
        """
        return {"epoch": self.epoch, "taken": max(self._taken, self._start) if taken is None else taken, **self._kind()}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Resume from this state at the next `iter`, which yields nothing if the epoch was finished."""
        for name, here in self._kind().items():
            if state.get(name) != here:
                raise InputError(
                    f"the state is of a BlockSampler with {name}={state.get(name)}, this one has {here}; "
                    "create it with the same arguments and data"
                )
        epoch, taken = state.get("epoch"), state.get("taken")
        if not (isinstance(epoch, int) and isinstance(taken, int) and 0 <= taken <= len(self)):
            raise InputError(f"the state has epoch={epoch!r}, taken={taken!r}; expected 0 to {len(self)} samples taken")
        self.epoch, self._start, self._taken = epoch, taken, 0

    def _kind(self) -> dict[str, int]:
        return {
            "seed": self.seed,
            "window": self.window,
            "samples": self.samples,
            "blocks": len(self._blocks) - 1,
            "num_replicas": self.num_replicas,
        }

    def _windows(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the blocks in the order of this epoch, and the end of each window in samples."""
        count = len(self._blocks) - 1
        # Sorted by a hash, so that the order does not depend on library versions.
        order = np.argsort(self._keys("blocks", np.arange(count)), kind="stable")
        ends = np.cumsum(np.diff(self._blocks)[order])
        return order, np.append(ends[self.window - 1 : count - 1 : self.window], ends[-1])

    def _window(self, blocks: np.ndarray) -> np.ndarray:
        """Return the samples of these blocks, shuffled."""
        samples = np.concatenate([np.arange(self._blocks[b], self._blocks[b + 1]) for b in blocks])
        return samples[np.argsort(self._keys("samples", samples), kind="stable")]

    def _keys(self, purpose: str, numbers: np.ndarray) -> np.ndarray:
        return sample_keys(fold(self.seed, "shuffle", purpose), self.epoch, numbers)
