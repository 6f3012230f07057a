"""Labels for unlabelled latents, spread from labelled ones over the graph of neighbours."""

from __future__ import annotations

import torch

from ..exceptions import DataError
from .batch import is_class, label_keys

_NEIGHBOURS, _CLAMP, _ROUNDS = 10, 0.9, 200
# The share of the unlabelled that is kept, the most probable first. On MNIST with 5 labels a class about 94 % of these
# are right, and 98 % of the more probable half, which holds next to none of the hard classes.
SURE_SHARE = 0.8


def spread_labels(z: torch.Tensor, labels: torch.Tensor, unlabelled: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows of the unlabelled latents that get a label, int64 (n,), ascending, and their labels, int64 (n,).

    Label spreading over the graph of nearest neighbours (Zhou et al. 2004, "Learning with Local and Global
    Consistency"), as scikit-learn has it; then the most probable 80 %. z: float (N, *L). labels: int64 (N,), of
    which negative ones are ignored, or one-hot (N,K). unlabelled: float (M, *L). Raises `DataError` for labels of one
    class, and for labels of several classes at once.

    >>> z, more = torch.tensor([[-3.0], [3.0]]), torch.cat([torch.randn(30, 1) - 3, torch.randn(30, 1) + 3])
    >>> rows, labels = spread_labels(z, torch.tensor([0, 1]), more)
    >>> len(rows), bool((labels == (more[rows, 0] > 0)).double().mean() > 0.9)
    (48, True)
    """
    from sklearn.semi_supervised import LabelSpreading  # 1 s to import, needed only here

    keys = label_keys(labels)
    labelled = keys >= 0
    if not bool(is_class(keys[labelled]).all()):
        raise DataError(
            "labels can be spread where each image has one class, got multi-hot or soft labels; leave unlabelled= out"
        )
    z = z[labelled]
    classes, known = keys[labelled].cpu().unique(return_inverse=True)
    if len(classes) < 2:
        raise DataError(f"labels can be spread from at least 2 classes, got {len(classes)}; leave unlabelled= out")
    points = torch.cat([z, unlabelled.to(z)]).flatten(1).double().cpu().numpy()
    target = torch.cat([known, torch.full((len(unlabelled),), -1)]).numpy()
    model = LabelSpreading(kernel="knn", n_neighbors=min(_NEIGHBOURS, len(points) - 1), alpha=_CLAMP, max_iter=_ROUNDS)
    probabilities = torch.from_numpy(model.fit(points, target).label_distributions_[len(z) :])
    reached = probabilities.sum(1) > 0  # the others are connected to no labelled one
    sure, best = (probabilities / probabilities.sum(1, keepdim=True).clamp_min(1e-12)).max(1)
    order = sure.masked_fill(~reached, -1).argsort(descending=True, stable=True)
    rows = order[: min(round(SURE_SHARE * len(unlabelled)), int(reached.sum()))].sort().values
    return rows.to(z.device), classes[best[rows]].to(z.device)
