"""`Report`: one page with everything in it, in order, and nothing of the caller's taken for markup."""

from __future__ import annotations

import base64
import io
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from augmentor.views.report import Report, curves_png


class Page(HTMLParser):
    """The tags, attributes and texts of a page; checks that what is opened is closed."""

    VOID = frozenset({"meta", "img", "br"})

    def __init__(self, html: str):
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str | None]] = []
        self.texts: list[str] = []
        self._open: list[str] = []
        self.feed(html)
        assert self._open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]
        if tag not in self.VOID:
            self._open.append(tag)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


def png(color: int = 0) -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (3, 2), color).save(buffer, format="PNG")
    return buffer.getvalue()


def test_sections_come_in_the_order_they_were_added():
    report = Report("the title")
    report.heading("one")
    report.text("two")
    report.table({"three": {"four": 5}})
    report.pictures(("six", png()))
    report.code("seven")
    page = Page(report.html())
    found = [text for text in page.texts if text in {"the title", "one", "two", "three", "four", "5", "six", "seven"}]
    assert found == ["the title", "the title", "one", "two", "four", "three", "5", "six", "seven"]
    assert page.tags.count("h1") == page.tags.count("h2") == page.tags.count("table") == 1


def test_markup_in_texts_stays_text():
    hostile = "<script>alert('\"1&2\"')</script>"
    report = Report(hostile)
    report.heading(hostile)
    report.text(hostile)
    report.code(hostile)
    report.table({hostile: {hostile: hostile}})
    report.pictures((hostile, png()))
    page = Page(report.html())
    assert "script" not in page.tags
    assert page.texts.count(hostile) == 9
    assert ("img", "alt", hostile) in page.attributes


def test_pictures_are_inside_the_page():
    report = Report("t")
    report.pictures(("black", png(0)), ("white", png(255)))
    sources = [value for tag, name, value in Page(report.html()).attributes if (tag, name) == ("img", "src")]
    assert [base64.b64decode(source.removeprefix("data:image/png;base64,")) for source in sources] == [png(0), png(255)]
    assert not re.search(r"https?:|@import|url\(|<link|<script", report.html())


def test_a_table_has_a_column_for_every_name_and_a_dash_for_what_is_missing():
    report = Report("t")
    report.table({"a": {"x": 0.123456, "y": 12345678.0}, "b": {"z": "text", "x": 3}})
    cells = re.findall(r"<t[hd]>(.*?)</t[hd]>", report.html())
    assert cells == ["", "x", "y", "z", "a", "0.1235", "1.235e+07", "&ndash;", "b", "3", "&ndash;", "text"]


def test_an_empty_table_is_a_table():
    report = Report("t")
    report.table({})
    assert "<table>" in report.html()


@pytest.mark.parametrize(
    "lines",
    [
        {"one": [(0, 1.0), (1, 0.5)]},
        {"steep": [(0, 1000.0), (1, 0.5)], "short": [(0, 2.0)]},
        {"below nil": [(0, -1.0), (1, 100.0)]},
    ],
)
def test_curves_are_a_picture(lines):
    picture = Image.open(io.BytesIO(curves_png(lines, "step", "loss")))
    assert picture.format == "PNG"
    assert picture.width > 400
    assert len(np.unique(np.asarray(picture.convert("L")))) > 10
    assert curves_png(lines, "step", "loss") == curves_png(lines, "step", "loss")


def test_curves_change_with_their_points():
    assert curves_png({"a": [(0, 1.0), (1, 2.0)]}, "x", "y") != curves_png({"a": [(0, 2.0), (1, 1.0)]}, "x", "y")


def test_figures_leave_no_window_behind():
    import matplotlib.pyplot as plt

    curves_png({"a": [(0, 1.0)]}, "x", "y")
    assert plt.get_fignums() == []
