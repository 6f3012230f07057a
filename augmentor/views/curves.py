"""Curves of values over time, such as losses over epochs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .._internal.pictures import figure_png


def curves_png(lines: Mapping[str, Sequence[tuple[float, float]]], xlabel: str, ylabel: str) -> bytes:
    """Draw named lines of (x, y) points as a PNG; the y axis is logarithmic if it spans more than a factor of ten.

    >>> curves_png({"training": [(1, 0.5), (2, 0.4)]}, "epoch", "loss")[1:4]
    b'PNG'
    """
    from matplotlib.figure import Figure  # 0.5 s to import, needed only here

    figure = Figure(figsize=(5.5, 3.2), dpi=100, layout="constrained")
    axis = figure.subplots()
    for name, points in lines.items():
        axis.plot([x for x, _ in points], [y for _, y in points], marker="o", markersize=3, label=name)
    heights = [y for points in lines.values() for _, y in points]
    if heights and min(heights) > 0 and max(heights) > 10 * min(heights):
        axis.set_yscale("log")
    axis.set_xlabel(xlabel)
    axis.set_ylabel(ylabel)
    axis.grid(alpha=0.3)
    axis.legend()
    return figure_png(figure)
