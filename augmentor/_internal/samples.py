"""Where images and labels stand in a sample: a tuple, a dict, or any structure that torchvision transforms take."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils._pytree import tree_flatten, tree_unflatten

from ..exceptions import InputError
from .items import LabelsGetter, is_image


class Sample:
    """The leaves of a sample, which may be replaced, and its label as the labels getter finds it, or None.

    Raises `InputError` where there is no image.
    """

    def __init__(self, inputs: Any, labels_getter: LabelsGetter):
        self.leaves, self._structure = tree_flatten(inputs)
        self.image_places = _image_places(self.leaves)
        self._labels_getter = labels_getter
        self.label = labels_getter(inputs)

    def put_label(self, label: Any) -> None:
        """Replace the leaf that the labels getter returned; `InputError` where that is no single one."""
        leaves, structure = self.leaves, self._structure
        places = [i for i, leaf in enumerate(leaves) if leaf is self.label]
        if len(places) > 1:  # small whole numbers are one object wherever they stand: mark each, and look again
            mark = torch.tensor(0)
            marked = ([*leaves[:i], mark, *leaves[i + 1 :]] for i in places)
            found = [self._labels_getter(tree_unflatten(sample, structure)) is mark for sample in marked]
            places = [i for i, hit in zip(places, found, strict=True) if hit]
        if len(places) != 1:
            raise InputError(
                f"the policy makes soft labels, and the labels ({type(self.label).__name__}) that labels_getter "
                "gives are no single element of the sample to put them in; expected one tensor for a batch, one number "
                "for an image"
            )
        leaves[places[0]] = label

    def rebuilt(self) -> Any:
        """The sample with the leaves as they are now, in its own structure."""
        return tree_unflatten(self.leaves, self._structure)


def _image_places(leaves: list[Any]) -> list[int]:
    """Which leaves are images, by torchvision's rule: a plain tensor counts only where nothing else says it is one."""
    places = [i for i, leaf in enumerate(leaves) if is_image(leaf)]
    typed = [i for i in places if type(leaves[i]) is not torch.Tensor]
    if not places:
        raise InputError(
            "LatentAugment found no image in its input; expected a PIL image, or a tensor (C,H,W) or (B,C,H,W)"
        )
    return typed or places[:1]
