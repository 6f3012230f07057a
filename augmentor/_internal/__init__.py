"""Foundations: random keys, files, weights, registry, checks, reading of samples, training runs.

May import: `exceptions`.
"""
