"""Label spreading: labels propagate between nearest neighbours."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

_NEIGHBOURS, _CLAMP, _ROUNDS = 10, 0.9, 200


def label_spreading(points: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Return a function from class numbers int64 (N,), -1 for none, to class probabilities float64 (N,K).

    points: float64 (N,D). The function is scikit-learn's label spreading over the graph of nearest neighbours (Zhou et
    al. 2004, "Learning with Local and Global Consistency"). A point that no label reaches gets a row of zeros. The
    graph does not depend on the labels and is built once.

    >>> points = np.concatenate([np.arange(12.0), 30 + np.arange(12.0)])[:, None]
    >>> label_spreading(points)(np.asarray([0] + [-1] * 22 + [1])).argmax(1).tolist()
    [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1]
    """
    from sklearn.neighbors import NearestNeighbors  # 1 s to import, needed only here
    from sklearn.semi_supervised import LabelSpreading

    neighbours = NearestNeighbors(n_neighbors=min(_NEIGHBOURS, len(points) - 1)).fit(points)
    graph = neighbours.kneighbors_graph(points, mode="connectivity")

    def probabilities(known: np.ndarray) -> np.ndarray:
        model = LabelSpreading(kernel=lambda *_: graph, alpha=_CLAMP, max_iter=_ROUNDS)
        return model.fit(points, known).label_distributions_

    return probabilities
