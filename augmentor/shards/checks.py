"""What `generate_shards` refuses before it reads or writes anything."""

from __future__ import annotations

from typing import Any

from .._internal.datasets import is_map_style
from .._internal.registry import did_you_mean
from ..exceptions import DataError, InputError, UnknownNameError
from ..policies import LatentPolicy, get_policy
from .engines import EXECUTORS, ray
from .manifest import FORMATS, MAX_SHARDS, STORES, compressions


def check_numbers(**given: int) -> None:
    """Integers from 1, or from 0 where that means something."""
    for name, value in given.items():
        least = 0 if name in ("seed", "epoch", "num_workers") else 1
        if type(value) is not int or not least <= value < 2**63:
            raise InputError(f"{name} is an integer of at least {least}, got {value!r}")


def check_choices(executor: str, store: str, format: str, compression: str, gpus_per_worker: float | None) -> None:
    """Names that are known, and that go together."""
    if executor not in EXECUTORS:
        raise UnknownNameError(f"unknown executor {executor!r}{did_you_mean(executor, EXECUTORS)}")
    for name, value, known in (
        ("store", store, STORES),
        ("format", format, tuple(FORMATS)),
        ("compression", compression, compressions()),
    ):
        if value not in known:
            raise InputError(f"{name} is {_either(known)}, got {value!r}")
    form = FORMATS[format]
    if store not in form.stores or compression not in form.compressions:
        raise InputError(
            f"format={format!r} takes store={_either(form.stores)} and compression={_either(form.compressions)}, got "
            f"store={store!r} and compression={compression!r}; leave them out, or use format='hdf5'"
        )
    if executor == "ray":
        ray.installed()
    if gpus_per_worker is not None and (executor != "ray" or not gpus_per_worker > 0):
        raise InputError(f"gpus_per_worker is a number above 0 for executor='ray', got {gpus_per_worker!r}")


def check_parts(resume: bool, in_parts: bool) -> None:
    """Several writers of one folder all go on with what is there."""
    if in_parts and not resume:
        raise InputError("resume=False is for a folder that one process makes; leave it out where several do")


def check_work(dataset: Any, augment: Any, num_samples: int, shard_size: int, store: str) -> None:
    """Data that can be indexed, and a transform whose samples a shard can hold."""
    if not hasattr(augment, "perturb_latents"):
        raise InputError(f"generate_shards takes a LatentAugment, got {type(augment).__name__}")
    augment.check_synthesis("generate_shards")
    if augment.residual and store == "latents":
        raise InputError(
            f"store='latents' keeps nothing of the images that residual={augment.residual} adds to what is decoded; "
            "store images, or give residual=0"
        )
    if augment.gate is not None and augment.gate.action == "weigh":
        raise InputError("shards have no place for weights; use a gate that re-draws")
    if not _has_text_form(augment.policy):
        raise InputError(
            f"policy {augment.policy} cannot be written down, so nobody could say what made the shards; "
            "use one of augmentor.list_policies(), or AugmentedLoader"
        )
    if num_samples > shard_size * MAX_SHARDS:
        raise InputError(
            f"{num_samples} samples in shards of {shard_size} make more than {MAX_SHARDS} files; raise shard_size"
        )
    if not is_map_style(dataset):
        raise DataError(
            f"generate_shards takes a map-style data set, got {type(dataset).__name__}, which has no length or no "
            "indices; if it fits into memory, give list(dataset)"
        )
    if len(dataset) == 0:
        raise DataError("generate_shards got an empty data set; expected at least one sample")
    if num_samples > len(dataset) * 2**31:
        raise InputError(f"{num_samples} samples of {len(dataset)} images are more than 2**31 copies of each")


def _has_text_form(policy: LatentPolicy) -> bool:
    try:
        return str(get_policy(str(policy))) == str(policy)
    except InputError:
        return False


def _either(names: tuple[str, ...]) -> str:
    return " or ".join(map(repr, names))
