"""The search for the augmentation that gives the best score on a data set.

This package may import `training` and the layers below it.
"""

from ..data import Transformed
from ._tune import tune
from .datasets import oversampled
from .result import TuneResult
from .task import Cost, Score, Setting, Task

__all__ = ["Cost", "Score", "Setting", "Task", "Transformed", "TuneResult", "oversampled", "tune"]
