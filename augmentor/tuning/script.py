"""Python code of the recommended augmentation, to paste into a script."""

from __future__ import annotations

from ..training.recipes import Recipe


def script(recipe: Recipe, policy: str | None = None, *, unlabelled: bool = False) -> str:
    """Return code that augments the map-style data set `dataset` of a script, anew at every fetch.

    policy: file for `LatentAugment.from_config` if latent samples are added. unlabelled: whether the reference set is
    also fitted on a data set `unlabelled`.

    >>> print(script(Recipe.of("v2.RandomHorizontalFlip()")))
    from torchvision.transforms import v2
    from augmentor.tuning import Transformed
    <BLANKLINE>
    transform = v2.RandomHorizontalFlip()
    dataset = Transformed(dataset, transform)
    """
    oversamples = recipe.balance == "oversampling" and policy is None  # with a policy, `balance` oversamples
    names = [name for name, wanted in (("Transformed", recipe.image), ("oversampled", oversamples)) if wanted]
    imports = ["from torchvision.transforms import v2"] if "v2." in recipe.code else []
    imports += ["from augmentor import LatentAugment, MixedDataset"] if policy else []
    imports += [f"from augmentor.tuning import {', '.join(names)}"] if names else []
    lines = []
    if policy:
        more = ", unlabelled=unlabelled" if unlabelled else ""
        lines += [f"augment = LatentAugment.from_config({policy!r}).fit(dataset{more})"]
        lines += ['dataset = MixedDataset(dataset, augment, sampling_strategy="tuned")']
    lines += ["dataset = oversampled(dataset)"] if oversamples else []
    lines += [recipe.code] if recipe.code else []
    lines += ["dataset = Transformed(dataset, transform)"] if recipe.image else []
    lines += ["# for each batch: images, labels = batch_transform(images, labels)"] if recipe.batch else []
    if recipe.balance == "logit adjustment":
        lines += ["# in the loss: cross_entropy(logits + prior.log(), labels), prior: the frequencies of the classes"]
    return "\n".join([*imports, "", *lines] if imports else lines or ["# no augmentation"])


def script_with_pseudo_labels(recipe: Recipe, encoder: str, steps: int, batch_size: int) -> str:
    """Return code that trains `model` on the data sets `dataset` and `unlabelled` of a script, with pseudo-labels.

    encoder: Python expression of the encoder, for a recipe that needs one.

    >>> print(script_with_pseudo_labels(Recipe(labels="own predictions"), "", 300, 64))
    from augmentor.training import small_cnn, train_with_pseudo_labels
    <BLANKLINE>
    network = small_cnn  # or your own: a function of the numbers of channels and of classes
    model, dataset = train_with_pseudo_labels(network, dataset, unlabelled, steps=300, batch_size=64)
    """
    imports = ["from torchvision.transforms import v2"] if "v2." in recipe.code else []
    imports += ["from augmentor.training import small_cnn, train_with_pseudo_labels"]
    lines = [recipe.code] if recipe.code else []
    arguments = ["network", "dataset", "unlabelled"]
    arguments += [encoder] if "latents" in recipe.labels else []
    arguments += ["transform=transform"] if recipe.image else []
    arguments += ["mix=batch_transform"] if recipe.batch else []
    arguments += [f"steps={steps}", f"batch_size={batch_size}"]
    lines += ["network = small_cnn  # or your own: a function of the numbers of channels and of classes"]
    lines += [f"model, dataset = train_with_pseudo_labels({', '.join(arguments)})"]
    return "\n".join([*imports, "", *lines])
