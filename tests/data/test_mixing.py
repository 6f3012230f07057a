"""How many samples each class gets besides its own."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from augmentor.data import Added, Mixing
from augmentor.data.mixing import added_counts
from augmentor.exceptions import InputError, UnknownNameError

LABELS = torch.tensor([0] * 5 + [1] * 2 + [4] * 3)


@pytest.mark.parametrize(
    ("strategy", "added"),
    [
        ("auto", {1: 3, 4: 2}),
        ("minority", {1: 3}),
        ("not minority", {4: 2}),
        ({0: 7, 4: 3}, {0: 2}),
        (lambda labels: {1: len(labels)}, {1: 8}),
    ],
)
def test_each_strategy_adds_what_imbalanced_learn_would(strategy, added):
    assert added_counts(LABELS, strategy) == {label: Added(0, count) for label, count in added.items()}


@given(st.lists(st.integers(0, 4), min_size=1, max_size=60))
def test_auto_makes_all_classes_as_large_as_the_largest(labels):
    added = added_counts(torch.tensor(labels), "auto")
    totals = {label: labels.count(label) + sum(added.get(label, ())) for label in set(labels)}
    assert len(set(totals.values())) == 1
    assert max(totals.values()) == max(labels.count(label) for label in labels)


def test_one_hot_labels_are_classes_ignored_ones_do_not_count_and_totals_of_numpy_are_whole_numbers():
    one_hot = torch.tensor([[1.0, 0], [1, 0], [0, 1]])
    assert added_counts(one_hot, "auto") == added_counts(torch.tensor([0, 0, 1, -100]), "auto") == {1: Added(0, 1)}
    for labels in ([[0.9, 0.1], [0, 1]], [[1.0, 1], [0, 1]]):
        with pytest.raises(InputError, match="multi-hot or soft labels"):
            added_counts(torch.tensor(labels), "auto")
    added = added_counts(LABELS, lambda labels: {0: np.int64(7)})
    assert added == {0: Added(0, 2)}
    assert type(added[0].synthetic) is int


@pytest.mark.parametrize(
    ("strategy", "error", "said"),
    [
        ("atuo", UnknownNameError, "did you mean 'auto'"),
        ({7: 5}, InputError, r"names class 7; the data has classes \[0, 1, 4\]"),
        ({0: 4}, InputError, "a total of 4 for class 0, which already has 5"),
        (lambda labels: 3, InputError, "gave int; expected a dict"),
        ({0: "many"}, InputError, "expected an integer"),
    ],
)
def test_strategies_that_make_no_sense_are_refused(strategy, error, said):
    with pytest.raises(error, match=said):
        added_counts(LABELS, strategy)


@given(st.lists(st.integers(0, 4), min_size=1, max_size=60), st.floats(0, 3), st.floats(0, 1))
def test_mixing_numbers_are_those_of_its_counts(labels, ratio, balance):
    mixing = Mixing(ratio, balance)
    have = {label: labels.count(label) for label in set(labels)}
    added = added_counts(torch.tensor(labels), mixing)
    assert all(map(any, added.values()))
    assert {label: added.get(label, Added(0, 0)) for label in have} == mixing.added(have)


@given(
    have=st.dictionaries(st.integers(0, 9), st.integers(1, 500), min_size=1),
    ratio=st.floats(0, 5),
    balance=st.floats(0, 1),
)
def test_classes_are_oversampled_and_get_the_same_synthetic_share(have, ratio, balance):
    largest = max(have.values())
    for label, (oversampled, synthetic) in Mixing(ratio, balance).added(have).items():
        assert abs(oversampled - balance * (largest - have[label])) <= 0.5
        assert abs(synthetic - ratio * (have[label] + oversampled)) <= 0.5
    with pytest.raises(InputError):
        Mixing(-0.1 - ratio, balance)
