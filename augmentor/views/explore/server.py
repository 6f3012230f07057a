"""HTTP server of the page for this machine: it loads nothing from other hosts and rejects requests of other sites."""

from __future__ import annotations

import base64
import logging
import socket
import threading
import warnings
from dataclasses import asdict, replace
from typing import Any

import torch
from torchvision.transforms.v2 import functional as VF

from ..._internal.pictures import png
from ..._internal.registry import describe
from ...autoencoders import list_autoencoders
from ...exceptions import AugmentorError, AugmentorWarning, InputError
from ...policies import get_policy, list_policies, policies
from . import recipe
from .controls import adjusted, controls
from .settings import Settings
from .view import Explorer, View

# Maximum side of displayed images in pixels.
SHOWN = 256
_LOOPBACK = ["127.0.0.1", "localhost", "[::1]"]
# The browser must not contact other hosts, and other pages must not embed this page in a frame.
_POLICY = "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"


def app(explorer: Explorer, settings: Settings, host: str = "127.0.0.1") -> Any:
    """Return the Flask application. host: address of the server; a loopback address accepts only loopback host names.

    ``GET /start`` returns the initial settings, and the available autoencoders and policies. ``POST /view`` accepts
    ``{"settings": {...}, "values": {path: number}}``, with the values of the policy's sliders, and returns the view, or
    ``{"error": one line}`` with status 400. Raises `InputError` without the extra `explore`.
    """
    flask = _flask()
    served, lock = flask.Flask(__name__, static_folder="page", static_url_path=""), threading.Lock()
    if host in ("127.0.0.1", "localhost", "::1"):
        served.config["TRUSTED_HOSTS"] = _LOOPBACK  # protects against DNS rebinding

    @served.get("/")
    def page() -> Any:
        return served.send_static_file("index.html")

    @served.get("/start")
    def start() -> Any:
        with lock:
            resolved = explorer.resolved(settings)
        examples = {name: describe(policies.get(name).example(), brief=True) for name in list_policies()}
        return {"settings": resolved.document(), "autoencoders": ["auto", *list_autoencoders()], "policies": examples}

    @served.post("/view")
    def view() -> Any:
        asked = flask.request.get_json()  # rejects other content types, so also forms of other sites
        try:
            with lock:
                return respond(explorer, asked)
        except (AugmentorError, OSError) as error:
            return {"error": " ".join(str(error).split())}, 400

    @served.after_request
    def confine(response: Any) -> Any:
        response.headers["Content-Security-Policy"] = _POLICY
        response.headers["Cache-Control"] = "no-store"
        return response

    return served


def serve(explorer: Explorer, settings: Settings, host: str, port: int) -> Any:
    """Return a server on this address, with the attributes `port` (0 selects a free port) and `serve_forever`."""
    application = app(explorer, settings, host)
    from werkzeug.serving import make_server

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.create_server((host, port), family=family)  # raises an error; werkzeug would exit the process
    return make_server(host, bound.getsockname()[1], application, threaded=True, fd=bound.detach())


def respond(explorer: Explorer, asked: Any) -> dict[str, Any]:
    """Return the view of these settings and slider values as plain JSON values, with pictures as data URLs."""
    if not isinstance(asked, dict) or not isinstance(asked.get("values", {}), dict):
        raise InputError("expected a JSON object with the objects 'settings' and 'values'")
    settings = explorer.resolved(Settings.read(asked.get("settings", {})))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", AugmentorWarning)
        policy = adjusted(get_policy(settings.policy), asked.get("values", {}))
        shown = explorer.view(replace(settings, policy=describe(policy, brief=True)))
    notes = [str(w.message) for w in caught if issubclass(w.category, AugmentorWarning)]
    return {
        **_pictures(shown),
        "settings": shown.settings.document(),
        "autoencoder": shown.config["autoencoder"], "verdict": str(shown.verdict),
        "total": shown.total, "selected": shown.selected, "shape": list(shown.images.shape[1:]),
        "controls": [asdict(control) for control in controls(policy)],
        "limit": shown.limit, "counts": asdict(shown.counts), "notes": notes,
        "take": {"code": recipe.code(shown), "command": recipe.command(shown), "policy": recipe.policy_json(shown)},
    }  # fmt: skip


def _pictures(view: View) -> dict[str, Any]:
    def shown(image: torch.Tensor, label: torch.Tensor, **more: Any) -> dict[str, Any]:
        return {"image": _address(image), "label": _label(label, view.classes), **more}

    def sample(copy: int, original: int) -> dict[str, Any]:
        scores = {name: float(score[copy, original]) for name, score in view.scores.items()}
        return shown(view.samples[copy, original], view.sample_labels[copy, original],
                     verdict=view.verdicts[copy][original], scores=scores)  # fmt: skip

    return {
        "originals": [
            shown(image, label, row=row, rebuilt=_address(rebuilt))
            for row, label, image, rebuilt in zip(view.rows, view.labels, view.images, view.rebuilt, strict=True)
        ],
        "samples": [[sample(copy, number) for number in range(len(view.rows))] for copy in range(len(view.samples))],
        "near": [
            shown(image, label, row=row, distance=distance)
            for row, distance, label, image in zip(
                view.near_rows, view.near_distances, view.near_labels, view.near_images, strict=True
            )
        ],
        "traversal": [
            {"dimension": dimension, "images": [_address(image) for image in images]}
            for dimension, images in zip(view.dimensions, view.traversal, strict=True)
        ],
    }


def _label(label: torch.Tensor, classes: list[str]) -> str:
    """Return the name of the class; for soft labels, the two largest classes with their weights."""
    if label.ndim == 0:
        return classes[int(label)]
    largest = zip(*(each.tolist() for each in label.topk(min(2, len(label)))), strict=True)
    return " ".join(f"{classes[number]} {share:.0%}" for share, number in largest if share)


def _address(image: torch.Tensor) -> str:
    """Return a uint8 image (C,H,W) as a ``data:`` URL of a PNG."""
    scale = SHOWN / max(image.shape[1:])
    if scale < 1:
        image = VF.resize(image, [max(1, round(side * scale)) for side in image.shape[1:]], antialias=True)
    return f"data:image/png;base64,{base64.b64encode(png(image)).decode()}"


def _flask() -> Any:
    try:
        import flask  # imported when used, because it is optional
    except ImportError as error:
        raise InputError("augmentor explore requires flask; pip install 'latent-augmentor[explore]'") from error
    return flask
