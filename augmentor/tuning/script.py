"""Python that makes what a race recommends, to paste into a script."""

from __future__ import annotations

from ..training.recipes import Recipe


def script(recipe: Recipe, policy: str | None = None, encoder: str = "encoder") -> str:
    """For a script that has a map-style data set `dataset`: afterwards it is augmented, anew at every fetch.

    policy: the file for `LatentAugment.from_config`, where latents are added. encoder: an expression, for the recipes
    with pseudo-labels that need one; these also take the names `network` and `unlabelled`.

    >>> print(script(Recipe.of("v2.RandomHorizontalFlip()")))
    from torchvision.transforms import v2
    from augmentor.tuning import Transformed
    <BLANKLINE>
    transform = v2.RandomHorizontalFlip()
    dataset = Transformed(dataset, transform)
    """
    oversamples = recipe.balance == "oversampling" and policy is None  # with latents that is part of the policy
    names = [name for name, wanted in (("Transformed", recipe.image), ("oversampled", oversamples)) if wanted]
    imports = ["from torchvision.transforms import v2"] if "v2." in recipe.code else []
    imports += ["from augmentor import LatentAugment, MixedDataset"] if policy else []
    imports += ["from augmentor.training import train_with_pseudo_labels"] if recipe.labels != "given" else []
    imports += [f"from augmentor.tuning import {', '.join(names)}"] if names else []
    lines = [recipe.code] if recipe.code else []
    if recipe.labels != "given":
        arguments = ["network", "dataset", "unlabelled"]
        arguments += [encoder] if "latents" in recipe.labels else []
        arguments += ["transform=transform"] if recipe.image else []
        lines += [f"training = train_with_pseudo_labels({', '.join(arguments)})"]
        lines += ["dataset = training.dataset  # and training.model is trained on it already"]
    if policy:
        lines += [f"augment = LatentAugment.from_config({policy!r}).fit(dataset)"]
        lines += ['dataset = MixedDataset(dataset, augment, sampling_strategy="tuned")']
    lines += ["dataset = oversampled(dataset)"] if oversamples else []
    lines += ["dataset = Transformed(dataset, transform)"] if recipe.image else []
    lines += ["# for each batch: images, labels = batch_transform(images, labels)"] if recipe.batch else []
    if recipe.balance == "logit adjustment":
        lines += ["# in the loss: cross_entropy(logits + prior.log(), labels), prior: the frequencies of the classes"]
    return "\n".join([*imports, "", *lines] if imports else lines or ["# no augmentation"])
