"""The standard augmentations of torchvision, by name, with which latent augmentation is compared and combined."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torchvision.transforms import v2

from .._internal.registry import did_you_mean
from ..exceptions import InputError, UnknownNameError

Controls = Sequence[str] | Mapping[str, Any]
BatchTransform = Callable[[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]

# Strengths of ColorJitter, the default first. 0.4 gives a lower accuracy on some photographs, and 0.8, that of SimCLR
# (Chen et al. 2020), on others (benchmarks/README.md).
_COLOUR = (0.6, 0.4, 0.8)
# Values that differ by this fraction of their range count as equal, because white in a JPEG file is not constant.
_ALIKE = 0.02
LABELS = ("given", "own predictions", "latents and own predictions")


@dataclass(frozen=True)
class Recipe:
    """Augmentation recipe: a transform per image, a transform per batch, and the treatment of rare classes.

    image: transform of one tensor (C,H,W), as those of torchvision, or None. batch: transform of float images (B,C,H,W)
    and labels (B,), or None. balance: "none", "oversampling" (all classes to the size of the largest) or "logit
    adjustment" (Menon et al. 2021: the logarithms of the class frequencies are added to the logits in the loss). code:
    Python that makes `image` and `batch`, for a script that has imported `v2`. labels: "given" uses only labelled
    images; "own predictions" and "latents and own predictions" use `train_with_pseudo_labels`, without and with an
    encoder. Raises `InputError` for other values of labels.

    >>> Recipe.of("v2.RandomHorizontalFlip()").code
    'transform = v2.RandomHorizontalFlip()'
    """

    image: Callable[[Any], Any] | None = None
    batch: BatchTransform | None = None
    balance: str = "none"
    code: str = ""
    labels: str = "given"

    def __post_init__(self) -> None:
        if self.labels not in LABELS:
            raise InputError(f"labels must be one of {', '.join(map(repr, LABELS))}, got {self.labels!r}")

    @classmethod
    def of(cls, *images: str, batch: str = "", balance: str = "none") -> Recipe:
        """Return the recipe of Python expressions: transforms of images, in sequence, and a transform of batches."""
        image = images[0] if len(images) == 1 else f"v2.Compose([{', '.join(images)}])" if images else ""
        names = (("transform", image), ("batch_transform", batch))
        code = "\n".join(f"{name} = {text}" for name, text in names if text)
        # The text is evaluated, so that pasted code is the same augmentation. All texts are written in this file.
        transform, mixing = (eval(text, {"v2": v2}) if text else None for _, text in names)
        return cls(transform, mixing, balance, code)


def usual_recipes(image_shape: Sequence[int], num_classes: int, fill: float = 0) -> dict[str, Recipe]:
    """Return the standard augmentations of torchvision for images (C,H,W) by name; the first is the default.

    Images of 3 channels are cropped and flipped, as usual for photographs. Others get an affine map and no flip,
    because a flipped digit is not a digit; without 1 or 3 channels, colours are not changed. The default is a strong
    augmentation that is common for such images; `augmentor.tune` finds the best one.

    image_shape: (C,H,W). num_classes: number of classes, for MixUp and CutMix. fill: value of the pixels outside an
    image, as in torchvision, in the units of the images: white is 255 in uint8 and 1 in floating-point images.

    Sources: TrivialAugment (Müller and Hutter 2021), RandAugment (Cubuk et al. 2020), AugMix (Hendrycks et al. 2020),
    elastic maps (Simard et al. 2003), random erasing (Zhong et al. 2020), Mixup (Zhang et al. 2018), CutMix (Yun et
    al. 2019).

    >>> list(usual_recipes((3, 32, 32), 10))[:3]
    ['ColorJitter(0.6), crop and flip', 'ColorJitter(0.4), crop and flip', 'ColorJitter(0.8), crop and flip']
    """
    channels, height, width = image_shape
    around = f", fill={fill:g}" if fill else ""
    bilinear = f"interpolation=v2.InterpolationMode.BILINEAR{around}"
    automatic = {name: f"v2.{name}({bilinear})" for name in ("RandAugment", "TrivialAugmentWide", "AugMix")}
    if channels == 3:
        crop = f"v2.RandomCrop(({height}, {width}), padding=({width // 8}, {height // 8}){around})"
        name, geometry = "crop and flip", [crop, "v2.RandomHorizontalFlip()"]
    else:
        name = "affine"
        geometry = [f"v2.RandomAffine(15, (0.12, 0.12), (0.8, 1.2), (-15, 15, -15, 15), {bilinear})"]
    found: dict[str, Recipe] = {}
    if channels == 3:
        for strength in _COLOUR:
            colour = f"v2.ColorJitter({strength}, {strength}, {strength}, {strength / 4:g})"
            found[f"ColorJitter({strength}), {name}"] = Recipe.of(colour, *geometry)
    if channels in (1, 3):
        order = ("TrivialAugmentWide", "RandAugment", "AugMix") if channels == 3 else tuple(automatic)
        found |= {f"{policy}, {name}": Recipe.of(automatic[policy], *geometry) for policy in order}
    found[name] = Recipe.of(*geometry)
    side = min(height, width)
    smooth = min(4.0, round(side / 6, 1))  # the kernel of the blur must fit into the image
    # Pixels move by 5 % of the side, as in Simard et al. 2003.
    elastic = f"v2.ElasticTransform({round(0.6 * side * smooth, 1)}, {smooth}{around})"
    found[f"elastic, {name}"] = Recipe.of(elastic, *geometry)
    found[f"{name}, erasing"] = Recipe.of(*geometry, "v2.RandomErasing()")
    for mixing in ("MixUp", "CutMix"):
        found[f"{name}, {mixing}"] = Recipe.of(*geometry, batch=f"v2.{mixing}(num_classes={num_classes})")
    if channels in (1, 3):
        found["TrivialAugmentWide"] = Recipe.of(automatic["TrivialAugmentWide"])
    mild = f"v2.RandomAffine(10, (0.08, 0.08), (0.9, 1.1), {bilinear})"
    return found | {"mild affine": Recipe.of(mild), "none": Recipe()}


def background(images: torch.Tensor) -> float:
    """Return the value of most border pixels of images (B,C,H,W), in their units; 0 if no value has a majority.

    Use it as `fill` of `usual_recipes`, so that images with a white background get no black corners.

    >>> background(torch.full((2, 1, 8, 8), 255, dtype=torch.uint8))
    255.0
    """
    rows, columns = images[..., [0, -1], :], images[..., [0, -1]]
    border = torch.cat([rows.flatten(), columns.flatten()]).float()
    largest, level = 255 if images.dtype == torch.uint8 else 1, border.median()
    alike = (border - level).abs() <= _ALIKE * largest
    is_black, is_one = bool(level <= _ALIKE * largest), bool(alike.float().mean() > 0.5)
    return round(float(level), 3) if is_one and not is_black else 0.0


def chosen_recipes(controls: Controls, usual: Mapping[str, Recipe]) -> dict[str, Recipe]:
    """Return the named recipes of `usual`, or recipes of own transforms by name; "none" is always included.

    >>> list(chosen_recipes({"mine": v2.RandomHorizontalFlip()}, {}))
    ['mine', 'none']
    """
    if isinstance(controls, str) or not isinstance(controls, (Sequence, Mapping)):
        raise InputError(
            f"controls must be a list of names, or a dict of transforms, got {controls!r}; known: {', '.join(usual)}"
        )
    if isinstance(controls, Mapping):
        found = {name: _own(name, transform) for name, transform in controls.items()}
    else:
        for name in controls:
            if name not in usual:
                raise UnknownNameError(f"unknown control {name!r}{did_you_mean(name, usual)}")
        found = {name: usual[name] for name in controls}
    return {**found, "none": Recipe()}


def _own(name: str, transform: Any) -> Recipe:
    if isinstance(transform, Recipe):
        return transform if transform.code else replace(transform, code=_own_code(name, transform))
    if not callable(transform):
        raise InputError(f"controls[{name!r}] is {transform!r}; expected a transform of an image, or a Recipe")
    return Recipe(transform, code=f"transform = controls[{name!r}]")


def _own_code(name: str, recipe: Recipe) -> str:
    """Return code that takes the transforms of a recipe from `controls`."""
    parts = (("transform", "image", recipe.image), ("batch_transform", "batch", recipe.batch))
    return "\n".join(f"{variable} = controls[{name!r}].{field}" for variable, field, made in parts if made)


def rebalanced(recipes: dict[str, Recipe], score: str) -> dict[str, Recipe]:
    """Return the recipes for a data set with classes of unequal sizes.

    score: "macro_recall" gives all recipes with oversampling, the default and "none" also without it, and the default
    with logit adjustment. "accuracy", on which rare classes have little effect, gives all recipes unchanged, and the
    default also with oversampling and with logit adjustment.

    >>> list(rebalanced({"affine": Recipe(), "none": Recipe()}, "macro_recall"))
    ['affine, oversampling', 'affine, logit adjustment', 'affine', 'none, oversampling', 'none']
    """
    found: dict[str, Recipe] = {}
    for number, (name, recipe) in enumerate(recipes.items()):
        is_default, is_last = number == 0, name == "none"
        balances = ["oversampling"] if is_default or score == "macro_recall" else []
        balances += ["logit adjustment"] if is_default else []
        made = {f"{name}, {balance}": replace(recipe, balance=balance) for balance in balances}
        plain = {name: recipe} if is_default or is_last or score == "accuracy" else {}
        found |= made | plain if score == "macro_recall" else plain | made
    return found


def pseudo_labelled(usual: Mapping[str, Recipe], with_encoder: bool) -> dict[str, Recipe]:
    """Return the default of the standard recipes, with pseudo-labels for unlabelled images.

    with_encoder: whether to include the recipe that needs an autoencoder.

    >>> list(pseudo_labelled({"affine": Recipe(), "none": Recipe()}, with_encoder=True))
    ['affine, labels by latents and own predictions', 'affine, labels by own predictions']
    """
    name, default = next(iter(usual.items()))
    ways = [*(["latents and own predictions"] if with_encoder else []), "own predictions"]
    return {f"{name}, labels by {way}": replace(default, labels=way) for way in ways}


def check_labels(recipes: Mapping[str, Recipe], unlabelled: bool) -> None:
    """Raise `InputError` for a recipe that uses unlabelled images if there are none.

    >>> check_labels({"none": Recipe()}, unlabelled=False)
    """
    for name, recipe in recipes.items():
        if recipe.labels != "given" and not unlabelled:
            raise InputError(
                f"control {name!r} needs unlabelled images, and there are none; for a classifier, pass them with "
                "unlabelled="
            )
