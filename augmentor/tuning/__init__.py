"""The search for a setting that is worth its while, and the honest answer where there is none."""

from ._tune import tune
from .result import TuneResult
from .task import Setting, Task

__all__ = ["Setting", "Task", "TuneResult", "tune"]
