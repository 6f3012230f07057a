"""HTML pages as single files with embedded pictures, from the templates in `templates/`."""

from __future__ import annotations

import base64
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

_TEMPLATES = Environment(
    loader=PackageLoader(__package__), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
)
_TEMPLATES.filters["base64"] = lambda data: base64.b64encode(data).decode()


def page(template: str, **values: Any) -> str:
    """Render a template of `templates/` with these values. Texts are escaped; pictures are PNG files as bytes.

    >>> page("page.html", title="fish & chips").splitlines()[-3]
    '<h1>fish &amp; chips</h1>'
    """
    return _TEMPLATES.get_template(template).render(values)
