"""`Plateau`: when the rate falls, and when training is over."""

from __future__ import annotations

import numpy as np
import pytest

from augmentor.autoencoders.plateau import Plateau


def followed(figures, **settings) -> tuple[Plateau, list[float], list[int]]:
    """The plateau after the measurements until training was over, the rates, and what was the earliest end at each."""
    plateau = Plateau(**{"patience": 2, "interval": 100, "min_steps": 100, **settings})
    rates, ends = [], [plateau.earliest_end(0)]
    for number, figure in enumerate(figures, 1):
        plateau.measured(figure, 100 * number)
        rates.append(plateau.rate)
        ends.append(plateau.earliest_end(100 * number))
        if plateau.over(100 * number):
            break
    return plateau, rates, ends


def test_what_never_rises_ends_at_the_earliest_end():
    _, rates, ends = followed([20.0] * 20)
    assert rates == [1, 1, 1 / 4, 1 / 4, 1 / 16, 1 / 16, 1 / 16]
    assert ends[1:] == [700] * 7


def test_nothing_falls_before_the_least_steps_however_long_there_was_no_rise():
    _, rates, ends = followed([20.0] * 20, min_steps=1000)
    assert rates == [1] * 9 + [1 / 4, 1 / 4, 1 / 16, 1 / 16, 1 / 16]
    assert set(ends) == {1400}


@pytest.mark.parametrize(("rise", "falls"), [(0.03, 0), (0.02, 1)])
def test_slow_rises_add_up(rise, falls):
    """0.05 dB within `patience` measurements go on, less does not."""
    plateau, _, _ = followed([20 + rise * number for number in range(4)])
    assert plateau.falls == falls


def test_the_earliest_end_never_comes_nearer():
    ends = followed(20 + np.random.default_rng(0).normal(0, 0.1, 200).cumsum())[2]
    assert ends == sorted(ends)
    assert ends[-1] == 100 * (len(ends) - 1)


def test_between_two_measurements_the_earliest_end_stays():
    plateau, _, ends = followed([20.0] * 4)
    assert {plateau.earliest_end(step) for step in range(400, 500)} == {ends[-1]}
