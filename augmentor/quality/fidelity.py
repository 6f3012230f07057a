"""How near one set of images is to another: FID, KID, precision and recall, as torch-fidelity computes them.

On other features than Inception's these are no FID and KID of the literature, and are written `fd-NAME`, `kd-NAME`.

fid        Frechet distance of two normals fitted to the features (Heusel et al. 2017); it falls with the number
           of samples, so compare only equal counts
kid        squared maximum mean discrepancy, cubic kernel (Binkowski et al. 2018); unbiased at any count
precision  share of generated samples within the real manifold (Kynkaanniemi et al. 2019): are they plausible
recall     share of real samples within the generated manifold: is everything covered
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from .._internal.random import fold
from ..exceptions import DataError, InputError
from .alarm import alarm
from .features import Extractor, Images, extract, num_channels
from .frechet import FEWEST, checked_pair, frechet_distance, frechet_joint_distance
from .smallnet import SmallNetFeatures


def compare(
    generated_features: torch.Tensor,
    real_features: torch.Tensor,
    *,
    kid_subset_size: int = 1000,
    k: int = 3,
    seed: int = 0,
) -> dict[str, float]:
    """`fid`, `kid`, `kid_std`, `precision` and `recall` of generated features (N, F) against real ones (M, F).

    kid_subset_size: samples in each of the 100 subsets that KID is the mean over; at most half of the smaller
    set is taken, so that the subsets differ and their standard deviation means something. k: which neighbour's
    distance is the radius of the manifold around a sample. seed: draws the subsets. Raises `DataError` for
    fewer than 10 samples, `ShapeError` for features that do not match, `RangeError` for features that are not
    finite.

    >>> features = torch.rand(50, 4, generator=torch.Generator().manual_seed(0))
    >>> scores = compare(features, features)
    >>> round(scores["fid"], 6), scores["precision"], scores["recall"]
    (0.0, 1.0, 1.0)
    """
    # Imported when used: 4.5 seconds.
    from torch_fidelity.metric_kid import KEY_METRIC_KID_MEAN, KEY_METRIC_KID_STD, kid_features_to_metric
    from torch_fidelity.metric_prc import KEY_METRIC_PRECISION, KEY_METRIC_RECALL, prc_features_to_metric

    generated, real = checked_pair(generated_features, real_features)
    fewest = min(len(generated), len(real))
    if not 1 <= k < fewest or kid_subset_size < 2:
        raise InputError(
            f"expected 1 <= k < {fewest} (the smaller set) and kid_subset_size >= 2, got {k} and {kid_subset_size}"
        )
    kid = kid_features_to_metric(
        generated,
        real,
        kid_subset_size=min(kid_subset_size, fewest // 2),
        rng_seed=seed % 2**32,
        verbose=False,
    )
    manifold = prc_features_to_metric(
        generated, real, prc_neighborhood=k, prc_batch_size=1000, save_cpu_ram=True, verbose=False
    )
    return {
        "fid": frechet_distance(generated, real),
        "kid": kid[KEY_METRIC_KID_MEAN],
        "kid_std": kid[KEY_METRIC_KID_STD],
        "precision": manifold[KEY_METRIC_PRECISION],
        "recall": manifold[KEY_METRIC_RECALL],
    }


def evaluate(
    generated: Images,
    real: Images,
    features: Extractor,
    *,
    labels: tuple[torch.Tensor, torch.Tensor] | None = None,
    seed: int = 0,
    batch_size: int = 256,
    device: torch.device | str | None = None,
) -> dict[str, Any]:
    """The scores of generated against real images, the floor that perfect images would reach, and an alarm.

    generated, real: tensors (N,C,H,W) or map-style data sets, as `extract` takes them. features: the extractor, such
    as ``independent_features(image_shape)``. labels: class numbers (N,) int of the generated and of the real images;
    with them there is the Frechet joint distance `fjd`.

    Returns the scores of `compare`; under `floor` the same for one random half of the real images against the other;
    under `counts` how many images were `generated`, `real`, and in each half of the `floor`; under `alarm` the reasons
    (texts) why the generated images can be told from real ones, as `alarm` finds them with `SmallNetFeatures`,
    whichever features the scores are of (for images other than grey and RGB: with these features). FID falls with the
    count, so its floor lies high where the halves are much smaller than the sets compared. Raises what `compare`
    raises, and `ShapeError` for labels that do not fit.

    >>> draw = torch.Generator().manual_seed(0)
    >>> real, generated = torch.rand(2, 60, 1, 8, 8, generator=draw)
    >>> scores = evaluate(generated, real, torch.nn.Sequential(torch.nn.AvgPool2d(4), torch.nn.Flatten()))
    >>> scores["counts"], scores["alarm"]
    ({'generated': 60, 'real': 60, 'floor': 30}, [])
    """
    generated_features = extract(features, generated, batch_size, device)
    real_features = extract(features, real, batch_size, device)
    judged = generated_features, real_features
    if not isinstance(features, SmallNetFeatures) and num_channels(real) in (1, 3):
        smallnet = SmallNetFeatures()
        judged = extract(smallnet, generated, batch_size, device), extract(smallnet, real, batch_size, device)
    half = len(real_features) // 2
    if half < FEWEST:
        raise DataError(
            f"expected at least {2 * FEWEST} real images, so that one half can be compared with the other, "
            f"got {len(real_features)}; some thousands make the numbers steady"
        )
    order = torch.randperm(len(real_features), generator=torch.Generator().manual_seed(fold(seed, "halves")))
    one, other = order[:half], order[half : 2 * half]
    scores = compare(generated_features, real_features, seed=seed)
    floor = compare(real_features[one], real_features[other], seed=seed)
    if labels is not None:
        made, known = labels
        scores["fjd"] = frechet_joint_distance(generated_features, made, real_features, known)
        floor["fjd"] = frechet_joint_distance(real_features[one], known[one], real_features[other], known[other])
    return {
        **scores,
        "floor": floor,
        "counts": {"generated": len(generated_features), "real": len(real_features), "floor": half},
        "alarm": alarm(*judged, (one, other)),
    }


def named_scores(scores: Mapping[str, Any], features: str) -> dict[str, Any]:
    """Scores under the names that tell with which features they were made, so that none is taken for Inception's FID.

    features: the extractor's `name`. As the literature writes FD-DINOv2, `fid` becomes `fd-smallnet`, and `kid`
    `kd-smallnet`.

    >>> named_scores({"fid": 1.0, "kid": 0.1, "precision": 0.9}, "smallnet")
    {'fd-smallnet': 1.0, 'kd-smallnet': 0.1, 'precision': 0.9}
    """
    if features == "inception":
        return dict(scores)
    names = {"fid": "fd", "kid": "kd", "kid_std": "kd_std", "fjd": "fjd"}
    return {f"{names[name]}-{features}" if name in names else name: value for name, value in scores.items()}
