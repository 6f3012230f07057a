"""Everything `augmentor` raises or warns about.

    AugmentorError
    ├── InputError(ValueError)        an argument, image or label that does not fit
    │   ├── ShapeError                wrong channels, size or number of dimensions
    │   ├── RangeError                values outside [0, 1], NaN, infinity
    │   └── UnknownNameError          a name or argument that is not registered ("did you mean")
    ├── ReferenceSetError(ValueError) a policy needs reference samples and has none, or too few of the class
    ├── DataError(ValueError)         an empty folder, an unreadable image, a data set of the wrong kind
    │   └── PseudoLabelError          labels for unlabelled images of which too many are wrong
    ├── WeightsError(ValueError)      a truncated, foreign or tampered weights file
    ├── CacheError(ValueError)        latents cached from other data or another autoencoder
    ├── ShardError(ValueError)        a truncated, foreign or tampered shard or manifest
    ├── OutputError(OSError)          an output folder that holds other things, or cannot be written
    ├── TrainingError(RuntimeError)   a loss that is not finite, a run that cannot be resumed
    ├── BudgetError(RuntimeError)     a budget of time that is too small for what was asked
    └── DeviceError(RuntimeError)     an accelerator used where it cannot be

    AugmentorWarning(UserWarning)     a setting that makes a call do nothing, or not what it says; said once

Every message says what came, what was expected and what to do.
"""

from __future__ import annotations


class AugmentorError(Exception):
    """Base of every error that `augmentor` raises on purpose."""


class InputError(AugmentorError, ValueError):
    """An argument, an image or a label does not fit."""


class ShapeError(InputError):
    """Images or latents have the wrong channels, size or number of dimensions."""


class RangeError(InputError):
    """Values are outside their range, or are not finite."""


class UnknownNameError(InputError):
    """A name or an argument is not registered."""


class ReferenceSetError(AugmentorError, ValueError):
    """A policy needs reference samples, and there are none, or too few of the class."""


class DataError(AugmentorError, ValueError):
    """A data set is empty, unreadable or of the wrong kind."""


class PseudoLabelError(DataError):
    """Too many of the labels that unlabelled images would get are wrong, or nobody can tell."""


class WeightsError(AugmentorError, ValueError):
    """A weights file is truncated, foreign or tampered with."""


class CacheError(AugmentorError, ValueError):
    """Cached latents belong to other data or to another autoencoder."""


class ShardError(AugmentorError, ValueError):
    """A shard or its manifest is truncated, foreign or tampered with."""


class OutputError(AugmentorError, OSError):
    """An output folder holds other things, or cannot be written."""


class TrainingError(AugmentorError, RuntimeError):
    """Training cannot go on."""


class BudgetError(AugmentorError, RuntimeError):
    """A budget of time is too small for what was asked."""


class DeviceError(AugmentorError, RuntimeError):
    """A device is used where it cannot be."""


class AugmentorWarning(UserWarning):
    """Something that was asked for will have no effect, or another one."""
