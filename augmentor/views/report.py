"""One HTML file with everything in it: text, tables and pictures."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Mapping, Sequence

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; color: #1a1a1a }
h1 { margin-bottom: 0 } h2 { margin-top: 2.2rem; border-bottom: 1px solid #ddd }
table { border-collapse: collapse; margin: 1rem 0 } th, td { padding: .25rem .9rem; text-align: right }
th:first-child, td:first-child { text-align: left } thead { border-bottom: 2px solid #888 }
tr:nth-child(even) td { background: #f6f6f6 }
img { max-width: 100%; border: 1px solid #ddd }
figure { margin: 1rem 0 } figcaption { color: #555; font-size: .9rem }
pre { background: #f6f6f6; padding: .8rem; overflow-x: auto }
.pair { display: flex; gap: 1rem } .pair figure { flex: 1 }
"""


class Report:
    """Sections added in reading order; `html` gives the whole page, which refers to nothing outside itself."""

    def __init__(self, title: str):
        self.title = title
        self._parts: list[str] = [f"<h1>{html.escape(title)}</h1>"]

    def heading(self, text: str) -> None:
        """Start a section."""
        self._parts.append(f"<h2>{html.escape(text)}</h2>")

    def text(self, text: str) -> None:
        """A paragraph."""
        self._parts.append(f"<p>{html.escape(text)}</p>")

    def code(self, text: str) -> None:
        """Commands or settings, letter for letter."""
        self._parts.append(f"<pre>{html.escape(text)}</pre>")

    def table(self, rows: Mapping[str, Mapping[str, object]]) -> None:
        """Row name => column name => value; floats get four digits, a missing value a dash."""
        columns = list(dict.fromkeys(name for row in rows.values() for name in row))
        head = "".join(f"<th>{html.escape(name)}</th>" for name in ["", *columns])
        body = "".join(
            "<tr>" + "".join(f"<td>{_cell(value)}</td>" for value in [name, *(row.get(c) for c in columns)]) + "</tr>"
            for name, row in rows.items()
        )
        self._parts.append(f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>")

    def pictures(self, *captioned: tuple[str, bytes]) -> None:
        """PNG pictures with captions, side by side."""
        figures = "".join(
            f'<figure><img alt="{html.escape(caption)}" src="data:image/png;base64,{base64.b64encode(data).decode()}">'
            f"<figcaption>{html.escape(caption)}</figcaption></figure>"
            for caption, data in captioned
        )
        self._parts.append(f'<div class="pair">{figures}</div>')

    def html(self) -> str:
        """The page."""
        head = f'<meta charset="utf-8"><title>{html.escape(self.title)}</title><style>{_STYLE}</style>'
        return f'<!doctype html><html lang="en"><head>{head}</head><body>{"".join(self._parts)}</body></html>\n'


def curves_png(lines: Mapping[str, Sequence[tuple[float, float]]], xlabel: str, ylabel: str) -> bytes:
    """Named lines of (x, y) points as a PNG picture; the y axis is logarithmic where it spans over a factor of ten."""
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
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def _cell(value: object) -> str:
    if value is None:
        return "&ndash;"
    return f"{value:.4g}" if isinstance(value, float) else html.escape(str(value))
