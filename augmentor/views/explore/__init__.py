"""The page of ``augmentor explore``: images, what a policy makes of them, and what the gate says of that, at once.

    settings.py   what is chosen on the page         controls.py   sliders, from the signature of any policy
    view.py       settings => all that is shown      recipe.py     the same as code, as a command, as policy.json
    server.py     the page, on this machine alone    page/         its HTML, CSS and JavaScript

All but the last line is free of browsers and servers. The server takes the extra `explore`.
"""

from .settings import Settings
from .view import Explorer, View

__all__ = ["Explorer", "Settings", "View"]
