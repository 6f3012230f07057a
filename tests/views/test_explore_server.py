"""The page as it is served: to this machine alone, of one piece, and with one line for bad input."""

from __future__ import annotations

import base64
import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
import warnings
from pathlib import Path

import pytest
from PIL import Image

from augmentor.cli import main
from augmentor.policies import list_policies
from augmentor.views.explore.server import app, serve

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def client(explorer, settings):
    return app(explorer, settings).test_client()


def ask(client, settings, values=None, **changes):
    return client.post("/view", json={"settings": {**settings.document(), **changes}, "values": values or {}})


def test_the_files_refer_to_nothing_outside_and_the_browser_is_told_so(client):
    for path in ("/", "/page.css", "/page.js"):
        answer = client.get(path)
        assert answer.status_code == 200
        assert not re.search(r"https?:|wss?:|['\"(=]\s*//|@import", answer.text), path
        assert "default-src 'self'" in answer.headers["Content-Security-Policy"]
    assert set(re.findall(r'(?:src|href)="([^"]*)"', client.get("/").text)) == {"data:,", "page.css", "page.js"}


def test_the_start_offers_all_policies_and_the_settings(client, settings):
    start = client.get("/start").get_json()
    assert list(start["policies"]) == list_policies()
    assert start["settings"] == settings.document()
    assert {"auto", "digits"} <= set(start["autoencoders"])


def test_a_view_has_pictures_sliders_and_texts(client, settings):
    view = ask(client, settings, {"std": 0.75}).get_json()
    assert view["settings"]["policy"] == "gaussian(std=0.75)"
    assert [c["name"] for c in view["controls"]] == ["std"]
    assert len(view["originals"]) == 4
    assert [len(copy) for copy in view["samples"]] == [4, 4, 4]
    assert set(view["take"]) == {"code", "command", "policy"}
    assert "gaussian(std=0.75)" in view["take"]["code"]
    picture = Image.open(io.BytesIO(base64.b64decode(view["samples"][0][0]["image"].partition(",")[2])))
    assert picture.size == (8, 8)


def test_soft_labels_are_named_by_their_largest_shares(client, settings):
    view = ask(client, settings, policy="interpolate(same_class=False)").get_json()
    labels = [sample["label"] for copy in view["samples"] for sample in copy]
    assert any(re.fullmatch(r"\d \d+% \d \d+%", label) for label in labels)


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"data": "nowhere"}, "found no data at 'nowhere'"),
        ({"policy": "gausian"}, "did you mean 'gaussian'"),
        ({"policy": "("}, "cannot read policy"),
        ({"images": 99}, "images goes from 1 to 16"),
        ({"original": -9}, "original goes from 0 to 15"),
        ({"copy": -1}, "copy goes from 0 to 7"),
        ({"autoencoder": "mnist"}, "LatentAugment|takes images"),
    ],
)
def test_bad_input_is_one_line(client, settings, changes, line):
    answer = ask(client, settings, **changes)
    assert answer.status_code == 400
    assert set(answer.get_json()) == {"error"}
    assert re.search(line, answer.get_json()["error"])
    assert "\n" not in answer.get_json()["error"]


@pytest.mark.parametrize("body", [[], {"values": 3}, {"settings": "digits"}, {"settings": {"policy": 1}}], ids=str)
def test_what_is_no_question_is_refused(client, body):
    assert client.post("/view", json=body).status_code == 400


def test_a_policy_that_suits_the_latents_is_taken_where_none_is_named(client, settings):
    shown = ask(client, settings, policy="auto").get_json()
    assert shown["settings"]["policy"] == "gaussian(std=0.5)"
    assert shown["controls"]


def test_what_does_nothing_is_noted(client, settings):
    assert "perturbs nothing" in ask(client, settings, {"std": 0.0}).get_json()["notes"][0]
    assert ask(client, settings).get_json()["notes"] == []


def test_large_images_are_shown_scaled(client, settings, explorer, monkeypatch):
    import augmentor.views.explore.server as module

    monkeypatch.setattr(module, "_SHOWN", 4)
    image = ask(client, settings).get_json()["originals"][0]["image"]
    assert Image.open(io.BytesIO(base64.b64decode(image.partition(",")[2]))).size == (4, 4)


def test_other_names_and_other_sites_get_nothing(client, settings):
    assert client.get("/start", headers={"Host": "evil.example:80"}).status_code == 400
    assert client.get("/start", headers={"Host": "localhost:123"}).status_code == 200
    form = client.post("/view", data=json.dumps({"settings": {}}), content_type="text/plain")
    assert form.status_code == 415  # the kinds of question that a browser asks for other sites without asking us first
    assert "Access-Control-Allow-Origin" not in ask(client, settings).headers


def test_it_is_bound_to_the_address_it_was_given(explorer, settings):
    server = serve(explorer, settings, "127.0.0.1", 0)
    try:
        assert server.socket.getsockname()[0] == "127.0.0.1"
        assert server.port > 0
        with pytest.raises(OSError, match="in use"):
            serve(explorer, settings, "127.0.0.1", server.port)
    finally:
        server.server_close()


@pytest.fixture
def failing(capfd, monkeypatch):
    """Runs a command that ends with code 2; its error output."""
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)

    def run(*arguments: str) -> str:
        with pytest.raises(SystemExit) as end:
            main(["explore", "--no-browser", "--device", "cpu", *arguments])
        assert end.value.code == 2
        return capfd.readouterr().err

    return run


def test_without_the_extra_one_line_says_what_to_install(failing, few, monkeypatch):
    monkeypatch.setitem(sys.modules, "flask", None)
    assert failing(few) == "error: augmentor explore takes flask; pip install 'latent-augmentor[explore]'\n"


def test_bad_input_ends_the_command_with_one_line(failing, few):
    assert failing("nowhere").startswith("error: found no data at 'nowhere'")
    assert failing(few, "--policy", "gausian").count("\n") == 1
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert "in use" in failing(few, "--port", str(taken.getsockname()[1]))


@pytest.mark.parametrize(
    ("options", "policy"),
    [((), "gaussian(std=0.5)"), (("--policy", "smote(k=2)"), "smote(k=2)")],
    ids=["auto", "smote"],
)
def test_the_command_serves_until_it_is_interrupted(few, options, policy):
    process = subprocess.Popen(
        [sys.executable, "-m", "augmentor", "explore", few, "--no-browser", *options],
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        lines = []
        for line in process.stdout:
            lines.append(line)
            if line.startswith("open "):
                break
        (address,) = re.findall(r"http://127\.0\.0\.1:\d+/", lines[-1])
        start = json.load(urllib.request.urlopen(f"{address}start"))
        assert start["settings"]["policy"] == policy
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(f"{address}../settings.py")
    finally:
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, "")
    assert any("autoencoder  digits" in line for line in lines)
