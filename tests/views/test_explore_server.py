"""The page as it is served: to this machine alone, of one piece, and with one line for bad input."""

from __future__ import annotations

import base64
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

from augmentor.cli import main
from augmentor.views.explore.server import app

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


def test_a_view_has_pictures_sliders_and_texts(client, settings):
    view = ask(client, settings, {"std": 0.75}).get_json()
    assert view["settings"]["policy"] == "gaussian(std=0.75)"
    assert [c["name"] for c in view["controls"]] == ["std"]
    assert len(view["originals"]) == 4
    assert [len(copy) for copy in view["samples"]] == [4, 4, 4]
    assert "gaussian(std=0.75)" in view["take"]["code"]
    assert base64.b64decode(view["samples"][0][0]["image"].partition("base64,")[2]).startswith(b"\x89PNG")


def test_soft_labels_suitable_policies_and_what_does_nothing(client, settings):
    mixed = ask(client, settings, policy="interpolate(same_class=False)").get_json()
    labels = [sample["label"] for copy in mixed["samples"] for sample in copy]
    assert any(re.fullmatch(r"\d \d+% \d \d+%", label) for label in labels)  # the largest shares
    auto = ask(client, settings, policy="auto").get_json()
    assert auto["settings"]["policy"] == "gaussian(std=0.5)"
    assert auto["notes"] == []
    assert "perturbs nothing" in ask(client, settings, {"std": 0.0}).get_json()["notes"][0]


def test_bad_input_is_one_line_and_the_next_view_works(client, settings):
    for changes, line in (
        ({"data": "nowhere"}, "found no data at 'nowhere'"),
        ({"policy": "gausian"}, "did you mean 'gaussian'"),
        ({"images": 99}, "images must be from 1 to 16"),
    ):
        answer = ask(client, settings, **changes)
        assert answer.status_code == 400
        assert line in answer.get_json()["error"]
        assert "\n" not in answer.get_json()["error"]
    for body in ([], {"values": 3}, {"settings": "digits"}, {"settings": {"policy": 1}}):
        assert client.post("/view", json=body).status_code == 400
    assert ask(client, settings).status_code == 200


def test_other_names_and_other_sites_get_nothing(client, settings):
    assert client.get("/start", headers={"Host": "evil.example:80"}).status_code == 400
    assert client.get("/start", headers={"Host": "localhost:123"}).status_code == 200
    form = client.post("/view", data=json.dumps({"settings": {}}), content_type="text/plain")
    assert form.status_code == 415  # the kinds of question that a browser asks for other sites without asking us first
    assert "Access-Control-Allow-Origin" not in ask(client, settings).headers


def test_what_keeps_the_command_from_serving_is_one_line(few, capfd, monkeypatch):
    def failing(*arguments: str) -> str:
        with pytest.raises(SystemExit) as end:
            main(["explore", "--no-browser", "--device", "cpu", *arguments])
        assert end.value.code == 2
        return capfd.readouterr().err

    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)
    assert failing("nowhere").startswith("error: found no data at 'nowhere'")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert "in use" in failing(few, "--port", str(taken.getsockname()[1]))
    monkeypatch.setitem(sys.modules, "flask", None)
    assert failing(few) == "error: augmentor explore requires flask; pip install 'latent-augmentor[explore]'\n"


@pytest.mark.slow
def test_the_command_serves_until_it_is_interrupted(few):
    process = subprocess.Popen(
        [sys.executable, "-m", "augmentor", "explore", few, "--no-browser", "--policy", "smote(k=2)"],
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        said = ""
        while "\nopen " not in said and (line := process.stdout.readline()):
            said += line
        (address,) = re.findall(r"http://127\.0\.0\.1:\d+/", said)
        assert json.load(urllib.request.urlopen(f"{address}start"))["settings"]["policy"] == "smote(k=2)"
        for inside in ("../settings.py", "%2e%2e/settings.py", "index.htm"):
            with pytest.raises(urllib.error.HTTPError, match="404"):
                urllib.request.urlopen(address + inside)
    finally:
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, "")
    assert "autoencoder  digits" in said
