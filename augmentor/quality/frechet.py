"""The Frechet distance of two sets of features, with or without labels, and the checks of such sets."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from ..exceptions import DataError, RangeError, ShapeError

# Minimum number of samples for an estimate of their distribution.
FEWEST = 10


def frechet_distance(generated: torch.Tensor, real: torch.Tensor) -> float:
    """Return the Frechet distance of normals fitted to checked features. Negative values, due to rounding, become 0."""
    from torch_fidelity.metric_fid import KEY_METRIC_FID, fid_features_to_statistics, fid_statistics_to_metric

    made, known = fid_features_to_statistics(generated), fid_features_to_statistics(real)
    return max(0.0, fid_statistics_to_metric(made, known, verbose=False)[KEY_METRIC_FID])


def frechet_joint_distance(
    generated_features: torch.Tensor,
    generated_labels: torch.Tensor,
    real_features: torch.Tensor,
    real_labels: torch.Tensor,
) -> float:
    """Return the Frechet distance of features together with labels, which also increases with wrong labels.

    Features (N, F) and (M, F) are joined with the one-hot class numbers (N,) and (M,), int, which are scaled so that
    both parts have the same total variance over the real images; DeVries et al. (2019, "On the evaluation of
    conditional GANs") scale to the same mean norm. Raises the errors of `compare`, and `ShapeError` for labels that
    are not one number per sample.

    >>> features = torch.rand(60, 4, generator=torch.Generator().manual_seed(0))
    >>> labels = (features[:, 0] > 0.5).long()
    >>> right = frechet_joint_distance(features, labels, features, labels)
    >>> round(right, 6), frechet_joint_distance(features, 1 - labels, features, labels) > 0.05
    (0.0, True)
    """
    generated, real = checked_pair(generated_features, real_features)
    for which, rows, given in (("generated", generated, generated_labels), ("real", real, real_labels)):
        if given.shape != (len(rows),) or given.is_floating_point() or (given < 0).any():
            raise ShapeError(
                f"expected {len(rows)} class numbers of the {which} images, integers >= 0, got {given.dtype} "
                f"{tuple(given.shape)}; leave the labels out if some are unknown"
            )
    classes = 1 + int(max(generated_labels.max(), real_labels.max()))
    made, known = (F.one_hot(given.cpu().long(), classes).double() for given in (generated_labels, real_labels))
    spread = known.var(0).sum()
    scale = (real.var(0).sum() / spread).sqrt() if spread > 0 else 1.0
    return frechet_distance(torch.cat([generated, scale * made], 1), torch.cat([real, scale * known], 1))


def checked_pair(generated: torch.Tensor, real: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return both sets of features in float64 on the CPU; raise an error if they cannot be compared."""
    generated, real = _checked(generated, "generated"), _checked(real, "real")
    if generated.shape[1] != real.shape[1]:
        raise ShapeError(
            f"expected the same number of features of generated and real images, got {generated.shape[1]} and "
            f"{real.shape[1]}; extract both with the same extractor"
        )
    return generated, real


def _checked(features: torch.Tensor, which: str) -> torch.Tensor:
    """Return float64 features (N, F) on the CPU: float32 covariances are not precise enough for the FID."""
    if features.ndim != 2 or features.shape[1] < 2:
        raise ShapeError(
            f"expected {which} features (N, F) with F >= 2, got {tuple(features.shape)}; "
            "flatten them to one row per image"
        )
    if len(features) < FEWEST:
        raise DataError(
            f"expected at least {FEWEST} {which} samples, got {len(features)}; a few thousand give stable values"
        )
    features = features.detach().cpu().double()
    if not features.isfinite().all():
        raise RangeError(
            f"expected finite features, got NaN or infinity in {int((~features.isfinite()).any(1).sum())} of "
            f"{len(features)} {which} samples; check these images and the extractor's weights"
        )
    return features
