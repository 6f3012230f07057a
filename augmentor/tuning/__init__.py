"""The search for an augmentation that helps on a data set, or the answer that none does.

May import `training` and what is below it.
"""

from ..data import Transformed
from ._tune import tune
from .datasets import oversampled
from .result import TuneResult
from .task import Cost, Score, Setting, Task

__all__ = ["Cost", "Score", "Setting", "Task", "Transformed", "TuneResult", "oversampled", "tune"]
