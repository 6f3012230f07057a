"""The tests of the verdict, against Student's and against values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import ttest_1samp

from augmentor.tuning import Task
from augmentor.tuning.row import Row
from augmentor.tuning.verdict import crossed_p_value, decide, paired_p_value


def test_the_paired_test_is_students():
    differences = [0.02, 0.03, -0.01, 0.02, 0.03, 0.01]
    assert paired_p_value(differences) == pytest.approx(ttest_1samp(differences, 0, alternative="greater").pvalue)
    assert (paired_p_value([0.1, 0.1]), paired_p_value([0.0, 0.0]), paired_p_value([0.5])) == (0.0, 1.0, 1.0)


def test_the_test_over_samples_is_students_where_trainings_have_no_luck():
    # In each training as many gain as in any other: only the samples differ.
    by_sample = np.random.default_rng(0).permutation([1] * 12 + [0] * 24 + [-1] * 3)
    samples, trainings = np.tile(np.arange(39), 2), np.repeat(np.arange(2), 39)
    student = ttest_1samp(by_sample, 0, alternative="greater").pvalue
    assert crossed_p_value([*by_sample] * 2, samples, trainings) == pytest.approx(student)


def test_luck_that_a_training_shares_among_its_samples_is_no_gain():
    # The same 20 of 60 differences of 1 and 10 of -1, once spread over six trainings and once owed to three of them.
    samples, trainings = [*range(30)] * 2, np.repeat(np.arange(6), 10)
    assert crossed_p_value([1, 1, 0, -1, 0, 0] * 10, samples, trainings) < 0.12
    assert crossed_p_value([1] * 20 + [0] * 30 + [-1] * 10, samples, trainings) > 0.2
    assert crossed_p_value([1] * 10, range(10), [0] * 10) == 1.0  # one training tells nothing


def test_weights_of_samples_stand_for_shares():
    # One class of six that gains, one of two that loses as much: half and half, there is no gain.
    by_class, weights = [1, 1, 0, 1, 1, 0, -1, -1], [1 / 6] * 6 + [1 / 2] * 2
    samples, trainings = [*range(8)] * 2, [0, 1] * 8
    assert crossed_p_value(by_class * 2, samples, trainings) == pytest.approx(0.226, abs=0.001)
    # By hand: mean -1/6, n = 1 / (6 / 12**2 + 2 / 4**2) = 6, variance 0.125 * 6 / 5, 5 degrees of freedom.
    assert crossed_p_value(by_class * 2, samples, trainings, weights * 2) == pytest.approx(0.658, abs=0.001)


def test_a_control_for_which_the_final_had_no_time_may_still_be_the_best():
    default, other, setting = (Row({name: name}, 1) for name in ("control", "control", "policy"))
    default.scores = {**dict.fromkeys(range(6), 1.0), 6: 9.0}  # the budget ended after its first cell of the final
    other.scores = dict.fromkeys(range(11), 1.2)
    setting.scores = dict.fromkeys(range(6, 11), 1.1)
    _, control, won, reason = decide(Task(), [default, other], [setting], range(6, 11), 5)
    assert control is default
    assert not won
    assert "the budget did not suffice for control control" in reason
