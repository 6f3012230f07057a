"""Checks of the arguments of `generate_shards`, before it reads or writes anything."""

from __future__ import annotations

from typing import Any

from .._internal.datasets import is_map_style
from .._internal.registry import did_you_mean
from ..exceptions import DataError, InputError, UnknownNameError
from ..policies import LatentPolicy, get_policy
from .engines import EXECUTORS, ray
from .manifest import FORMATS, MAX_SHARDS, STORES, compressions


def check_numbers(**given: int) -> None:
    """Check that numbers are integers of at least 1, or 0 where it is valid."""
    for name, value in given.items():
        least = 0 if name in ("seed", "epoch", "num_workers") else 1
        if type(value) is not int or not least <= value < 2**63:
            raise InputError(f"{name} must be an integer of at least {least}, got {value!r}")


def check_choices(executor: str, store: str, format: str, compression: str, gpus_per_worker: float | None) -> None:
    """Check that names are known and can be combined."""
    if executor not in EXECUTORS:
        raise UnknownNameError(f"unknown executor {executor!r}{did_you_mean(executor, EXECUTORS)}")
    for name, value, known in (
        ("store", store, STORES),
        ("format", format, tuple(FORMATS)),
        ("compression", compression, compressions()),
    ):
        if value not in known:
            raise InputError(f"{name} must be {_either(known)}, got {value!r}")
    form = FORMATS[format]
    if store not in form.stores or compression not in form.compressions:
        raise InputError(
            f"format={format!r} takes store={_either(form.stores)} and compression={_either(form.compressions)}, got "
            f"store={store!r} and compression={compression!r}; leave them out, or use format='hdf5'"
        )
    if executor == "ray":
        ray.installed()
    if gpus_per_worker is not None and (executor != "ray" or not gpus_per_worker > 0):
        raise InputError(
            "gpus_per_worker must be a number above 0, for executor='ray' only, "
            f"got gpus_per_worker={gpus_per_worker!r} with executor={executor!r}"
        )


def check_parts(resume: bool, in_parts: bool) -> None:
    """Check that several writers of one folder use resume."""
    if in_parts and not resume:
        raise InputError("got resume=False while several processes write the folder; expected resume=True")


def check_work(dataset: Any, augment: Any, num_samples: int, shard_size: int, store: str) -> None:
    """Check that the data can be indexed, and that shards can store the samples of the transform."""
    if not hasattr(augment, "perturb_latents"):
        raise InputError(f"generate_shards takes a LatentAugment, got {type(augment).__name__}")
    augment.check_synthesis("generate_shards")
    if augment.residual and store == "latents":
        raise InputError(
            f"store='latents' cannot store what residual={augment.residual} adds to decoded images; "
            "store images, or give residual=0"
        )
    if augment.gate is not None and augment.gate.action == "weigh":
        raise InputError(
            "got a gate with action='weigh', but shards cannot store weights; use QualityGate(action='redraw')"
        )
    if not _has_text_form(augment.policy):
        raise InputError(
            f"policy {augment.policy} has no string form, so the manifest cannot record it; "
            "use a policy of augmentor.list_policies(), or AugmentedLoader, which needs no string form; for denoise, "
            "give the folder of the pipeline or prior"
        )
    if num_samples > shard_size * MAX_SHARDS:
        raise InputError(
            f"{num_samples} samples in shards of {shard_size} need more than {MAX_SHARDS} files; increase shard_size"
        )
    if not is_map_style(dataset):
        raise DataError(
            f"generate_shards takes a map-style data set, got {type(dataset).__name__}, which has no length or no "
            "indices; if it fits into memory, give list(dataset)"
        )
    if len(dataset) == 0:
        raise DataError("generate_shards got an empty data set; expected at least one sample")
    if num_samples > len(dataset) * 2**31:
        raise InputError(
            f"got num_samples={num_samples} for {len(dataset)} images; expected at most 2**31 samples per image"
        )


def _has_text_form(policy: LatentPolicy) -> bool:
    try:
        return str(get_policy(str(policy))) == str(policy)
    except InputError:
        return False


def _either(names: tuple[str, ...]) -> str:
    return " or ".join(map(repr, names))
