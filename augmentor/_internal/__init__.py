"""Foundations: random keys, files, weights, the registry, checks, reading of samples, the folder of a run.

May import `exceptions` and what is below it.
"""
