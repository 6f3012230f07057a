"""Whether a setting is better than another, or only luckier."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence


def corrected_p_value(differences: Sequence[float], test_share: float) -> float:
    """One-sided p of "the mean difference is not above 0", for paired differences of cross-validated scores.

    Student's t with the variance of Nadeau and Bengio (2003, "Inference for the generalization error"): cells share
    training data, so the variance of their mean is ``(1 / n + test_share) * var`` rather than ``var / n``. With
    `test_share` 0 it is the plain paired test. Fewer than 2 differences tell nothing: p is 1.

    >>> round(corrected_p_value([0.02, 0.03, 0.01, 0.02, 0.03], 0.0), 4)
    0.0021
    >>> round(corrected_p_value([0.02, 0.03, 0.01, 0.02, 0.03], 0.5), 3)
    0.017
    """
    from scipy.stats import t  # 1 s to import, needed only here

    if len(differences) < 2:
        return 1.0
    mean, variance = statistics.fmean(differences), statistics.variance(differences)
    if variance == 0:
        return 0.0 if mean > 0 else 1.0
    return float(t.sf(mean / math.sqrt((1 / len(differences) + test_share) * variance), len(differences) - 1))
