"""The page over HTTP, for this machine: nothing is fetched from elsewhere, and other sites cannot ask for anything."""

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

# Larger images are shown at this many pixels a side.
SHOWN = 256
_LOOPBACK = ["127.0.0.1", "localhost", "[::1]"]
# The browser itself is told to ask nobody else, and to let no other page hold this one in a frame.
_POLICY = "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"


def app(explorer: Explorer, settings: Settings, host: str = "127.0.0.1") -> Any:
    """The Flask application. host: where it will be bound; on the loopback address it answers to no other name.

    ``GET /start`` gives the first settings and what there is to choose from. ``POST /view`` takes
    ``{"settings": {...}, "values": {path: number}}``, where values are those of the policy's sliders, and gives all
    that is shown, or ``{"error": one line}`` with status 400. Raises `InputError` without the extra `explore`.
    """
    flask = _flask()
    served, lock = flask.Flask(__name__, static_folder="page", static_url_path=""), threading.Lock()
    if host in ("127.0.0.1", "localhost", "::1"):
        served.config["TRUSTED_HOSTS"] = _LOOPBACK  # a foreign name that leads here is an attack (DNS rebinding)

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
        asked = flask.request.get_json()  # of another type is refused, so that forms of other sites cannot get here
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
    """A server bound to this address, with `port` (0 takes a free one) and `serve_forever`."""
    application = app(explorer, settings, host)
    from werkzeug.serving import make_server

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.create_server((host, port), family=family)  # raises where werkzeug would leave the process
    return make_server(host, bound.getsockname()[1], application, threaded=True, fd=bound.detach())


def respond(explorer: Explorer, asked: Any) -> dict[str, Any]:
    """Settings and slider values => the whole view as plain JSON values, pictures as data addresses."""
    if not isinstance(asked, dict) or not isinstance(asked.get("values", {}), dict):
        raise InputError("expected settings and values")
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
        "total": shown.total, "looked": shown.looked, "shape": list(shown.images.shape[1:]),
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
    """The name of the class; of soft labels the largest shares."""
    if label.ndim == 0:
        return classes[int(label)]
    largest = zip(*(each.tolist() for each in label.topk(min(2, len(label)))), strict=True)
    return " ".join(f"{classes[number]} {share:.0%}" for share, number in largest if share)


def _address(image: torch.Tensor) -> str:
    """A uint8 image (C,H,W) as a ``data:`` address of a PNG."""
    scale = SHOWN / max(image.shape[1:])
    if scale < 1:
        image = VF.resize(image, [max(1, round(side * scale)) for side in image.shape[1:]], antialias=True)
    return f"data:image/png;base64,{base64.b64encode(png(image)).decode()}"


def _flask() -> Any:
    try:
        import flask  # imported when used: it comes with an extra
    except ImportError as error:
        raise InputError("augmentor explore takes flask; pip install 'latent-augmentor[explore]'") from error
    return flask
