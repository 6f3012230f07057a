"""Pages of one file: their pictures are inside, and no text of the caller's is taken for markup. And curves."""

from __future__ import annotations

import base64
import io
import re

import markupsafe
import numpy as np
from PIL import Image

from augmentor.views.curves import curves_png
from augmentor.views.pages import page


def shown(title: str, pictures: dict[str, bytes], **figures: object) -> str:
    return page("copies.html", title=title, summary={**figures, "floor": figures}, pictures=pictures)


def test_everything_stands_in_its_place_and_inside_the_page():
    html = shown("the title", {"black": b"\x89PNG 1", "white": b"\x89PNG 2"}, some_share=0.123456, images=12345678)
    sources = re.findall(r'<img alt="[^"]*" src="data:image/png;base64,([^"]*)">', html)
    assert list(map(base64.b64decode, sources)) == [b"\x89PNG 1", b"\x89PNG 2"]
    row = ["0.1235", "12345678"]
    assert re.findall(r"<t[hd]>(.*?)</t[hd]>", html) == ["", "some share", "images", "generated", *row, "real", *row]
    assert not re.search(r"https?:|@import|url\(|<link|<script", html)


def test_markup_in_texts_stays_text():
    hostile = "<script>alert('\"1&2\"')</script>"
    html = shown(hostile, {hostile: b""}, **{hostile: hostile})
    assert "<script" not in html
    assert html.count(markupsafe.escape(hostile)) == 6


def test_curves_are_a_picture_of_their_points():
    figures = [{"steep": [(0, 1000.0), (1, 0.5)], "short": [(0, 2.0)]}, {"below nil": [(0, -1.0), (1, 100.0)]}]
    drawn = [curves_png(lines, "step", "loss") for lines in figures]
    assert drawn == [curves_png(lines, "step", "loss") for lines in figures]
    assert drawn[0] != drawn[1]
    for picture in drawn:
        assert len(np.unique(np.asarray(Image.open(io.BytesIO(picture)).convert("L")))) > 10
