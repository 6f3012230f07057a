"""Whether a setting is better than another, or only luckier."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def paired_p_value(differences: Sequence[float], weights: Sequence[float] | None = None) -> float:
    """One-sided p of "the (weighted) mean difference is not above 0", by Student's paired t test.

    With weights ``w``, scaled to the sum 1, the mean is ``m = sum(w * d)``, its variance
    ``sum(w**2 * (d - m)**2) * n / (n - 1)`` for ``n = 1 / sum(w**2)``, the effective number of differences (Kish 1965),
    and ``n - 1`` the degrees of freedom; equal weights make that the usual test. Fewer than 2 differences tell nothing:
    p is 1.

    >>> round(paired_p_value([0.02, 0.03, 0.01, 0.02, 0.03]), 4)
    0.0021
    >>> round(paired_p_value([0.02, 0.03, 0.01, 0.02, 0.03], [1, 1, 3, 1, 1]), 3)
    0.02
    """
    from scipy.stats import t  # 1 s to import, needed only here

    d = np.asarray(differences, np.float64)
    if len(d) < 2:
        return 1.0
    if np.ptp(d) == 0:
        return 0.0 if d[0] > 0 else 1.0
    w = np.ones(len(d)) if weights is None else np.asarray(weights, np.float64)
    w = w / w.sum()
    n, mean = 1 / np.square(w).sum(), w @ d
    variance = np.square(w * (d - mean)).sum() * n / (n - 1)
    return float(t.sf(mean / np.sqrt(variance), n - 1))
