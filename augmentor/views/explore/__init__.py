"""Page of ``augmentor explore``: images, samples of a policy, and the scores of the gate.

    settings.py   settings of the page               controls.py   sliders for the arguments of any policy
    view.py       settings => displayed values       recipe.py     Python code, command and policy.json of a view
    server.py     HTTP server for this machine       page/         HTML, CSS and JavaScript

Only the last line depends on a browser or a server. The server requires the extra `explore`.
"""

from .settings import Settings
from .view import Explorer, View

__all__ = ["Explorer", "Settings", "View"]
