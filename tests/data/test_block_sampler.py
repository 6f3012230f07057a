"""`BlockSampler`: every sample once, each block once, the same order again, and going on in the middle."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from augmentor.data import ArrayDataset, BlockSampler
from augmentor.exceptions import InputError


class Blocks(list):
    """So many samples, in blocks that begin at the given places."""

    def __init__(self, *starts: int):
        super().__init__(range(starts[-1]))
        self.blocks = np.asarray(starts)


UNEVEN = Blocks(0, 5, 10, 12, 17, 22, 24, 29, 33)


@pytest.mark.parametrize(
    ("data", "window"),
    [(UNEVEN, 3), (Blocks(0, 1), 2), (range(256), 1), (range(257), 2)],
)
def test_every_sample_once(data, window, global_rng_untouched):
    order = list(BlockSampler(data, window=window))
    assert sorted(order) == list(range(len(data)))
    assert len(order) == len(BlockSampler(data, window=window))


def test_the_order_depends_on_seed_and_epoch_only():
    sampler = BlockSampler(range(1000), seed=3, window=2)
    first = list(sampler)
    assert list(sampler) == first == list(BlockSampler(range(1000), seed=3, window=2))
    sampler.set_epoch(1)
    assert list(sampler) != first
    assert list(BlockSampler(range(1000), seed=4, window=2)) != first
    sampler.set_epoch(0)
    assert [a for a, b in zip(sampler, sampler, strict=True) if a == b] == first  # two iterations at once
    # Held in numbers, because a resumed training may run under other versions of the libraries.
    assert list(BlockSampler(UNEVEN, seed=1, window=2))[:8] == [7, 9, 6, 16, 15, 13, 12, 8]


def test_blocks_come_in_windows_and_each_only_once():
    order = np.asarray(list(BlockSampler(UNEVEN, seed=1, window=2)))
    block_of = np.searchsorted(UNEVEN.blocks, order, "right") - 1
    seen: list[frozenset[int]] = []
    place = 0
    while place < len(order):  # the samples of two blocks, mixed, then those of two others
        two = list(dict.fromkeys(block_of[place:].tolist()))[:2]
        size = sum(int(UNEVEN.blocks[b + 1] - UNEVEN.blocks[b]) for b in two)
        assert set(block_of[place : place + size].tolist()) == set(two)
        seen.append(frozenset(two))
        place += size
    assert len(frozenset().union(*seen)) == sum(map(len, seen)) == 8
    assert block_of.tolist() != sorted(block_of.tolist())


def test_the_shuffle_mixes():
    order = np.asarray(list(BlockSampler(range(100_000))))
    steps = np.abs(np.diff(order))
    assert np.mean(steps == 1) < 0.01  # neighbours rarely follow each other
    assert abs(np.corrcoef(np.arange(len(order)), order)[0, 1]) < 0.1
    inside = np.sort(order[: 64 * 256]) // 256
    assert len(set(inside.tolist())) == 64  # the first window comes from all over the data
    assert inside.max() - inside.min() > 300


@pytest.mark.parametrize("replicas", [1, 7])
def test_ranks_share_an_epoch_in_equal_parts(replicas):
    parts = [list(BlockSampler(UNEVEN, rank=rank, num_replicas=replicas)) for rank in range(replicas)]
    assert {len(part) for part in parts} == {-(-33 // replicas)}
    whole = [sample for part in parts for sample in part]
    assert whole[:33] == list(BlockSampler(UNEVEN))
    assert whole[33:] == whole[: len(whole) - 33]  # filled up from the beginning
    cut = [BlockSampler(UNEVEN, rank=rank, num_replicas=replicas, drop_last=True) for rank in range(replicas)]
    assert [sample for part in cut for sample in part] == list(BlockSampler(UNEVEN))[: 33 // replicas * replicas]


def test_the_rank_is_that_of_torch_distributed(tmp_path):
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1)
    try:
        sampler = BlockSampler(UNEVEN)
        assert (sampler.rank, sampler.num_replicas) == (0, 1)
    finally:
        torch.distributed.destroy_process_group()


@pytest.mark.parametrize("taken", [11, 33])
def test_going_on_in_the_middle_of_an_epoch(taken):
    """As stateful loaders do it: the state is read while an iteration runs, an iterator may be made before loading."""
    unbroken, sampler, again = (BlockSampler(UNEVEN, seed=2, window=3) for _ in range(3))
    unbroken.set_epoch(5)
    sampler.set_epoch(5)
    whole, running = list(unbroken), iter(sampler)
    head = [next(running) for _ in range(taken)]
    state = json.loads(json.dumps(sampler.state_dict()))
    assert all(type(value) is int for value in state.values())
    iter(again)
    again.load_state_dict(state)
    assert again.state_dict() == state
    again.set_epoch(5)  # the loop of a training says which epoch it is in
    assert head + list(again) == whole
    again.set_epoch(6)
    unbroken.set_epoch(6)
    assert list(again) == list(unbroken)  # only the epoch that was broken off is short


@pytest.mark.parametrize("workers", [0, 2])
def test_a_plain_loader_goes_on_after_some_steps(workers):
    data = ArrayDataset(torch.arange(100, dtype=torch.uint8).reshape(100, 1, 1, 1))

    def batches(sampler):
        return [x.flatten().tolist() for x, _ in DataLoader(data, batch_size=8, sampler=sampler, num_workers=workers)]

    sampler, again = BlockSampler(data), BlockSampler(data)
    whole = batches(sampler)
    again.load_state_dict(sampler.state_dict(taken=5 * 8))
    assert batches(again) == whole[5:]
    if workers == 0:  # nothing is read ahead, so the sampler itself knows what was taken
        next(itertools.islice(DataLoader(data, batch_size=8, sampler=sampler), 2, None))
        again.load_state_dict(sampler.state_dict())
        assert batches(again) == whole[3:]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"rank": 2, "num_replicas": 2}, "rank=2 of 2"),
        ({"rank": 0}, "num_replicas"),
        ({"window": 0}, "window"),
        ({"rank": 0, "num_replicas": 50, "drop_last": True}, "33 samples for 50 ranks"),
        ({"dataset": []}, "0 samples"),
    ],
)
def test_arguments_that_do_not_fit(arguments, said):
    with pytest.raises(InputError, match=said):
        BlockSampler(**{"dataset": UNEVEN, **arguments})


@pytest.mark.parametrize(
    "change",
    [{"seed": 1}, {"samples": 34}, {"blocks": 2}, {"taken": 34}, {"taken": -1}, {"epoch": None}],
)
def test_the_state_of_another_order_is_refused(change):
    sampler, ((name, value),) = BlockSampler(UNEVEN), change.items()
    with pytest.raises(InputError, match=f"{name}={value}"):
        sampler.load_state_dict({**sampler.state_dict(), **change})
    with pytest.raises(InputError):
        sampler.load_state_dict({})
