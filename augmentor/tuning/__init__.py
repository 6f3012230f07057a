"""The search for a setting that is worth its while, and the honest answer where there is none."""

from ._tune import tune
from .datasets import Transformed
from .result import TuneResult
from .task import Score, Setting, Task

__all__ = ["Score", "Setting", "Task", "Transformed", "TuneResult", "tune"]
