"""`LatentSampler` is an estimator like any other of imbalanced-learn, and makes samples that are worth having."""

from __future__ import annotations

from imblearn.utils.estimator_checks import parametrize_with_checks as parametrize_with_imblearn_checks
from sklearn.utils.estimator_checks import parametrize_with_checks

from augmentor import LatentSampler


@parametrize_with_checks([LatentSampler(random_state=0)])
def test_the_checks_of_scikit_learn(estimator, check):
    check(estimator)


@parametrize_with_imblearn_checks([LatentSampler(random_state=0)])
def test_the_checks_of_imbalanced_learn(estimator, check):
    check(estimator)
