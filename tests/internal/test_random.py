"""Noise that belongs to a sample: known answers, statistics, and independence of the batch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from augmentor._internal.random import (
    SampleRandom,
    drawn_seed,
    fold,
    pixel_fingerprints,
    sample_keys,
    seeded,
)

INTEGERS = st.integers(-(2**63), 2**63 - 1)
ON_CUDA = pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"))
# The reference implementation of splitmix64, started from 1234567.
KNOWN = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431, 16408922859458223821]


def random_for(index, seed=0, epoch=0, draw_index=0) -> SampleRandom:
    return SampleRandom(sample_keys(seed, epoch, index, draw_index))


# --- keys and words


def test_uniforms_are_the_words_of_splitmix64_also_when_drawn_in_parts():
    random = SampleRandom(np.asarray([1234567], np.uint64))
    drawn = torch.cat([random.uniform(2), random.uniform(3)], 1)[0]
    assert drawn.tolist() == [(word >> 40) * 2**-24 for word in KNOWN]


def test_keys_and_noise_are_what_they_were_in_the_first_release():
    # Stored shards rest on these: a change here is a change of every augmented data set.
    assert sample_keys(0, 0, [0, 1], 0).tolist() == [17964823697111478408, 13521520156802413375]
    assert fold(0, "order", 3) == 8743547645281788167
    noise = random_for([0, 1]).normal(2)
    torch.testing.assert_close(noise, torch.tensor([[-0.475992, 0.723014], [0.586808, 0.878475]]), atol=1e-6, rtol=0)


def test_no_two_of_many_keys_are_equal_and_places_are_not_interchangeable():
    values = [0, 1, 2, -1, 2**32, 2**40]
    keys = {int(key) for s in values for e in values for i in values for key in sample_keys(s, e, i, values)}
    assert len(keys) == 6**4


@pytest.mark.parametrize("value", [3, -1, 2**40])
def test_numpy_and_torch_integers_are_the_same_key_as_python_ones(value):
    expected = sample_keys(value, value, [value], value).tolist()
    other = np.int64(value)
    assert sample_keys(other, other, np.asarray([value]), other).tolist() == expected
    assert sample_keys(value, value, torch.tensor([value]), value).tolist() == expected
    assert fold(other, other) == fold(value, value)


@given(INTEGERS, st.lists(st.one_of(INTEGERS, st.text(max_size=5)), min_size=1, max_size=3))
@settings(max_examples=50, deadline=None)
def test_fold_gives_63_bit_seeds_that_depend_on_every_part(seed, parts):
    value = fold(seed, *parts)
    assert 0 <= value < 2**63
    assert value == fold(seed, *parts)
    assert value != fold(seed, *parts, 0)
    assert fold(seed + 1, *parts) != value != fold(seed ^ 2**40, *parts)


def test_a_seed_is_drawn_from_the_default_generator_of_torch():
    torch.manual_seed(3)
    first, second = drawn_seed(), drawn_seed()
    torch.manual_seed(3)
    with torch.device("meta"):
        assert drawn_seed() == first != second == drawn_seed() >= 0


# --- distributions


def test_normal_has_the_moments_and_tails_of_a_normal():
    values = random_for(range(500)).normal(401).double().numpy().ravel()
    error = 5 / np.sqrt(values.size)
    for power, (moment, width) in enumerate([(0, 1), (1, 1.5), (0, 4), (3, 10)], start=1):
        assert abs((values**power).mean() - moment) < width * error
    assert abs((np.abs(values) < 1).mean() - 0.6827) < error
    assert abs((np.abs(values) > 2).mean() - 0.0455) < error
    assert 3.5 < np.abs(values).max() < 6.7


def test_the_two_numbers_of_a_pair_and_neighbouring_samples_are_uncorrelated():
    values = random_for(range(20000)).normal(4).double()
    correlation = torch.corrcoef(torch.cat([values[:-1], values[1:]], dim=1).T)
    assert (correlation - torch.eye(8)).abs().max() < 0.035


def test_the_largest_and_smallest_words_give_finite_normals():
    # Their first words are 0, 2**64 - 1, 2**32 - 1 and 2**64 - 2**32.
    keys = [7046029254386353131, 3558559446808474027, 2671002731600622682, 6204490082765445028]
    random = [SampleRandom(np.asarray(keys, np.uint64)) for _ in range(2)]
    assert random[0].normal(2).isfinite().all()
    uniform = random[1].uniform(1)[:, 0]
    assert uniform.tolist() == [0, 1 - 2**-24, 0, 1 - 2**-24]


def test_bernoulli_hits_with_its_probability_and_is_certain_at_the_ends():
    for p in (0.1, 0.5, 0.9):
        assert abs(random_for(range(20000)).bernoulli(p).mean() - p) < 0.015
    assert random_for(range(20000)).bernoulli(1.0).all()
    assert not random_for(range(20000)).bernoulli(0.0).any()


def test_a_certain_draw_takes_as_much_of_the_sequence_as_any_other():
    certain, likely = random_for(range(5)), random_for(range(5))
    certain.bernoulli(1.0)
    likely.bernoulli(0.5)
    assert torch.equal(certain.normal(3), likely.normal(3))


# --- independence of the batch, and of global generators


@pytest.mark.parametrize(("size", "shape"), [(1, (7,)), (3, ()), (16, (2, 3, 5)), (255, (1,))], ids=str)
def test_a_row_does_not_depend_on_its_batch_or_order_bit_for_bit(size, shape, global_rng_untouched):
    keys, order = sample_keys(3, 1, range(256)), np.random.RandomState(0).permutation(256)
    parts = np.split(keys[order], range(size, 256, size))
    for draw in (SampleRandom.uniform, SampleRandom.normal):
        whole = draw(SampleRandom(keys), *shape)
        assert torch.equal(torch.cat([draw(SampleRandom(part), *shape) for part in parts]), whole[order])


def test_taking_rows_goes_on_where_the_sequences_stand():
    rows = np.asarray([3, 0, 4])
    random = random_for(range(5))
    random.bernoulli(0.5)
    part = random.take(rows)
    assert torch.equal(part.normal(6), random.normal(6)[rows])
    assert len(part) == 3


@pytest.mark.parametrize("device", ["cpu", ON_CUDA])
def test_seeded_code_repeats_and_global_generators_come_back(device, global_rng_untouched, monkeypatch):
    before = torch.cuda.get_rng_state() if device == "cuda" else None
    if device == "cpu":
        monkeypatch.setattr(torch.cuda, "manual_seed_all", lambda seed: pytest.fail("accelerators were reseeded"))
    drawn = []
    for seed in (3, 3, 4):
        with seeded(seed, "weights", device=device):
            drawn.append(torch.rand(4, device=device))
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    assert before is None or torch.equal(torch.cuda.get_rng_state(), before)


# --- fingerprints of images


def test_the_fingerprint_of_an_image_does_not_depend_on_its_type_or_batch():
    levels = torch.randint(0, 256, (6, 3, 9, 11), dtype=torch.uint8)
    prints = pixel_fingerprints(levels)
    assert prints.dtype == np.int64
    assert len(set(prints.tolist())) == 6
    assert (pixel_fingerprints(levels.float() / 255) == prints).all()
    assert (pixel_fingerprints(levels.flip(0)) == prints[::-1]).all()
    assert pixel_fingerprints(levels[2:3])[0] == prints[2]
    assert (pixel_fingerprints(levels.contiguous(memory_format=torch.channels_last)) == prints).all()
    levels[0, 0, 4, 4] ^= 1
    assert pixel_fingerprints(levels)[0] != prints[0]
