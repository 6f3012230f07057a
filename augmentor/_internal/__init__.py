"""Internal modules: random keys, files, weights, the registry, checks, reading of samples, the folder of a run.

This package may import `exceptions` and the layers below it.
"""
