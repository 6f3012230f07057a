"""Exceptions and warnings of `augmentor`.

    AugmentorError
    ├── InputError(ValueError)        invalid argument, image or label
    │   ├── ShapeError                wrong number of channels, image size or number of dimensions
    │   ├── RangeError                values outside [0, 1], NaN, infinity
    │   └── UnknownNameError          name or argument that is not registered ("did you mean")
    ├── ReferenceSetError(ValueError) no reference samples, or too few of a class, for a policy that needs them
    ├── DataError(ValueError)         empty folder, unreadable image, wrong type of data set
    │   └── PseudoLabelError          too many wrong pseudo-labels, or an accuracy that cannot be estimated
    ├── WeightsError(ValueError)      weights file that is truncated, modified or in another format
    ├── CacheError(ValueError)        latents cached from other data or with another autoencoder
    ├── ShardError(ValueError)        shard or manifest that is truncated, modified or in another format
    ├── OutputError(OSError)          output folder that contains other files or cannot be written
    ├── TrainingError(RuntimeError)   loss that is not finite, run that cannot be resumed
    ├── BudgetError(RuntimeError)     time budget that is too small for the task
    └── DeviceError(RuntimeError)     accelerator that cannot be used in this place

    AugmentorWarning(UserWarning)     setting without effect, skipped or unusual data, result of low quality

Every message says what was given, what is accepted and what to do.
"""

from __future__ import annotations


class AugmentorError(Exception):
    """Base class of the exceptions of `augmentor`."""


class InputError(AugmentorError, ValueError):
    """Raised if an argument, an image or a label is invalid."""


class ShapeError(InputError):
    """Raised if images or latents have the wrong number of channels, size or number of dimensions."""


class RangeError(InputError):
    """Raised if values are outside their range or not finite."""


class UnknownNameError(InputError):
    """Raised if a name or an argument is not registered."""


class ReferenceSetError(AugmentorError, ValueError):
    """Raised if a policy needs reference samples and there are none, or too few of the class."""


class DataError(AugmentorError, ValueError):
    """Raised if a data set is empty, unreadable or of the wrong type."""


class PseudoLabelError(DataError):
    """Raised if too many pseudo-labels would be wrong, or if their accuracy cannot be estimated."""


class WeightsError(AugmentorError, ValueError):
    """Raised if a weights file is truncated, modified or in another format."""


class CacheError(AugmentorError, ValueError):
    """Raised if cached latents belong to other data or to another autoencoder."""


class ShardError(AugmentorError, ValueError):
    """Raised if a shard or its manifest is truncated, modified or in another format."""


class OutputError(AugmentorError, OSError):
    """Raised if an output folder contains other files or a run with other settings, or cannot be written."""


class TrainingError(AugmentorError, RuntimeError):
    """Raised if training cannot continue."""


class BudgetError(AugmentorError, RuntimeError):
    """Raised if a time budget is too small for the task."""


class DeviceError(AugmentorError, RuntimeError):
    """Raised if a device cannot be used, for example CUDA inside a loader worker."""


class AugmentorWarning(UserWarning):
    """Warning of a setting without effect, of data that are skipped or unusual, or of a result of low quality."""
