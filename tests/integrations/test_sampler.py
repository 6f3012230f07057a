"""`LatentSampler` is an estimator like any other of imbalanced-learn, and makes samples that are worth having."""

from __future__ import annotations

import numpy as np
import pytest
from imblearn.pipeline import make_pipeline
from imblearn.utils.estimator_checks import parametrize_with_checks as parametrize_with_imblearn_checks
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.utils.estimator_checks import parametrize_with_checks

from augmentor import LatentSampler, load_autoencoder
from augmentor.exceptions import InputError, RangeError, ReferenceSetError, ShapeError

# Every check of both libraries runs, and none is expected to fail. They feed matrices that are no images, so they hold
# for autoencoder=None. scikit-learn skips its check_array_api_input by itself, as for all that do not claim the array
# API (and where SCIPY_ARRAY_API is not set); imbalanced-learn leaves out check_samplers_string and
# check_samplers_nan, because we take numbers only, and none that are missing, as our tags say.


@pytest.fixture
def short_training(monkeypatch) -> None:
    """An autoencoder that has learnt next to nothing, where what is looked at does not depend on it."""
    monkeypatch.setattr("augmentor.integrations.imbalanced_learn._STEPS", 10)


@pytest.mark.slow
@pytest.mark.usefixtures("short_training")
@parametrize_with_checks([LatentSampler(random_state=0)])
def test_the_checks_of_scikit_learn(estimator, check):
    check(estimator)


@pytest.mark.slow
@pytest.mark.usefixtures("short_training")
@parametrize_with_imblearn_checks([LatentSampler(random_state=0)])
def test_the_checks_of_imbalanced_learn(estimator, check):
    check(estimator)


@pytest.fixture(scope="module")
def pictures() -> tuple[np.ndarray, np.ndarray]:
    """Digits in [0, 1], of which 5 eights."""
    X, y = load_digits(return_X_y=True)
    gone = np.flatnonzero(y[:900] == 8)[5:]
    return np.delete(X[:900] / 16, gone, 0), np.delete(y[:900], gone)


def test_small_classes_are_filled_up_behind_the_real_rows(pictures):
    X, y = pictures
    sampler = LatentSampler("digits", "smote(k=3)", random_state=0)
    X_more, y_more = sampler.fit_resample(X, y)
    counts = np.bincount(y)
    assert np.bincount(y_more).tolist() == [counts.max()] * 10
    assert np.array_equal(X_more[: len(X)], X)
    assert np.array_equal(y_more[: len(y)], y)
    assert X_more.dtype == np.float64
    eights = X_more[len(X) :][y_more[len(X) :] == 8]
    assert len(np.unique(eights.round(6), axis=0)) == len(eights)


def test_a_rare_class_is_found_more_often(pictures):
    X, y = load_digits(return_X_y=True)
    X_test, y_test = X[900:][y[900:] == 8] / 16, y[900:][y[900:] == 8]
    alone = LogisticRegression(max_iter=500).fit(*pictures)
    both = make_pipeline(LatentSampler("digits", "smote(k=3)", random_state=0), LogisticRegression(max_iter=500))
    assert both.fit(*pictures).score(X_test, y_test) > alone.score(X_test, y_test) + 0.2


@pytest.mark.usefixtures("short_training")
def test_the_random_state_decides_and_nothing_else_is_drawn(pictures, global_rng_untouched):
    X, y = pictures[0][:60], pictures[1][:60] == 0
    before = np.random.get_state()[1].copy()
    first, again, other = (LatentSampler(random_state=s).fit_resample(X, y)[0] for s in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert np.array_equal(np.random.get_state()[1], before)


def test_strategies_labels_and_whole_pixels_are_those_of_the_caller(pictures):
    levels, names = np.rint(pictures[0] * 255).astype(np.uint8), np.array(list("abcdefghij"))[pictures[1]]
    made, found = LatentSampler("digits", sampling_strategy={"i": 20}, random_state=0).fit_resample(levels, names)
    assert (found == "i").sum() == 20
    assert len(found) == len(names) + 15
    assert made.dtype == np.uint8
    assert made[len(levels) :].std() > 50


def test_a_table_keeps_its_type_and_samples_stay_within_its_features():
    random, y = np.random.RandomState(0), [0] * 50 + [1] * 10
    numbers = np.column_stack([random.normal(1000, 5, 60), random.rand(60), np.full(60, 7.0)])
    switches = np.eye(4, dtype=bool)[random.randint(4, size=60)]
    for X in (numbers, switches):
        made, _ = LatentSampler(random_state=0).fit_resample(X, y)
        assert (made.dtype, made.shape) == (X.dtype, (100, X.shape[1]))
        assert ((X.min(0) <= made) & (made <= X.max(0))).all()
    assert made[60:].mean() < 0.5  # one switch of four, and not whatever is above 0


def test_autoencoders_come_as_objects_too(pictures):
    sampler = LatentSampler(load_autoencoder("digits"), "class_gaussian(std=0.5)", random_state=0)
    made, _ = sampler.fit_resample(*pictures)
    assert np.array_equal(clone(sampler).fit_resample(*pictures)[0], made)


def test_what_does_not_fit_is_an_error_that_says_what_to_do(pictures):
    X, y = pictures
    with pytest.raises(ShapeError, match=r"rows of 63 values are not images \(1, 8, 8\); give image_shape"):
        LatentSampler("digits").fit_resample(X[:, 1:], y)
    with pytest.raises(RangeError, match=r"images in \[0, 1\]"):
        LatentSampler("digits").fit_resample(16 * X, y)
    with pytest.raises(InputError, match="mixes classes"):
        LatentSampler("digits", "interpolate(same_class=False)").fit_resample(X, y)
    with pytest.raises(ReferenceSetError):
        LatentSampler("digits").fit_resample(X, np.arange(len(X)) == 0)
    with pytest.raises(ShapeError, match="more than 16384"):
        LatentSampler().fit_resample(np.zeros((4, 16385)), [0, 0, 0, 1])
