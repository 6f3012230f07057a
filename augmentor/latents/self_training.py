"""Self-training: a classifier is trained on its own most confident predictions."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

_ROUNDS = 1000


def self_training(points: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Return a function from class numbers int64 (N,), -1 for none, to class probabilities float64 (N,K).

    points: float64 (N,D), which are standardised. The function is scikit-learn's self-training (Yarowsky 1995,
    "Unsupervised Word Sense Disambiguation Rivaling Supervised Methods"): a logistic regression is fitted on the
    labelled points, then also on points that it classifies with a probability above 0.75, in up to ten rounds.

    >>> points = np.concatenate([np.arange(12.0), 30 + np.arange(12.0)])[:, None]
    >>> self_training(points)(np.asarray([0] + [-1] * 22 + [1])).argmax(1).tolist()
    [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1]
    """
    from sklearn.linear_model import LogisticRegression  # 1 s to import, needed only here
    from sklearn.preprocessing import StandardScaler
    from sklearn.semi_supervised import SelfTrainingClassifier

    scaled = StandardScaler().fit_transform(points)

    def probabilities(known: np.ndarray) -> np.ndarray:
        model = SelfTrainingClassifier(LogisticRegression(max_iter=_ROUNDS))  # positional: its name has changed
        return model.fit(scaled, known).predict_proba(scaled)

    return probabilities
