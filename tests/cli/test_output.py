"""What every command prints: text that ends with the next command, one JSON object (--json), or nothing (--quiet)."""

from __future__ import annotations

import json
import re
import shlex

import click
import pytest

from augmentor import cli

COMMANDS = cli.app.list_commands(click.Context(cli.app))
# A short call of each command that ends by itself => results in its JSON.
CALLS = {
    "train-autoencoder DATA/rgb --size 16 --autoencoder 'vae(latent_dim=4, width=8)' --steps 1 --out run":
        {"steps": 1},
    "preview digits --policy smote --images 2": {},
    "generate digits --num-samples 8 --gate 0.95 --out shards": {"images": 8},
    "verify DATA/shards": {"damaged": {}},
    "train-gan DATA/grey.npz --method gan --network 'dcgan(width=8)' --steps 1 --batch-size 8 --out gan": {},
    "evaluate DATA/shards DATA/grey.npz": {"features": "smallnet"},
    "pseudo-label DATA/grey.npz DATA/grey.npz --encoder smallnet --min-accuracy 0": {},
}  # fmt: skip


@pytest.mark.parametrize(("line", "results"), CALLS.items(), ids=lambda value: str(value).split()[0])
def test_a_command_prints_text_or_json_or_nothing(call, line, results):
    said = call(line)
    assert said.code == 0, said.err
    found, _, further = said.out.rpartition("\n")[0].rpartition("\nnext: augmentor ")
    assert found
    name, *arguments = shlex.split(further)
    cli.app.get_command(click.Context(cli.app), name).make_context(name, arguments)  # raises on what it does not take
    assert all(arguments)

    as_json = call(line, "--json")
    document = json.loads(as_json.out)
    assert document["next"] == f"augmentor {further}"
    assert results.items() <= document.items()
    settings = {
        text.split("  ")[0].replace(" ", "_") for text in said.out.splitlines() if re.match(r"[a-z_ ]+  ", text)
    }
    assert {"out", "device"} <= document["settings"].keys() or line.startswith("verify")
    assert document["settings"].keys() <= settings
    assert (call(line, "--quiet").out, as_json.code) == ("", 0)


def test_quiet_and_json_contradict(refused):
    assert "got --quiet and --json; give one of them" in refused("info --quiet --json")


def test_both_hide_progress_bars_and_only_inside_the_command(succeeds, monkeypatch):
    from augmentor._internal import progress

    shown = []
    monkeypatch.setattr(progress, "tqdm", lambda *_, disable=False, **__: shown.append(not disable) or iter(()))
    monkeypatch.setattr(progress, "_redraws", lambda: True)
    monkeypatch.setattr(cli.app.get_command(click.Context(cli.app), "info"), "callback",
                        lambda **_: progress.progress_bar([1]))  # fmt: skip
    for option in ("--json", "--quiet", ""):
        succeeds(f"info {option}")
    assert shown == [False, False, True]


@pytest.mark.parametrize("name", COMMANDS)
def test_a_help_text_begins_with_what_the_option_is_and_gives_the_default(name):
    command = cli.app.get_command(click.Context(cli.app), name)
    for option in command.params:
        if not isinstance(option, click.Option) or option.is_eager:
            continue
        text = option.help or ""
        assert re.match(r"[A-Z0-9].*\.$", text), (option.opts, text)
        has_default = option.is_flag or option.default not in (None, ()) or option.required
        assert has_default or re.search(r"Default: |in place of --", text), (option.opts, text)


def test_the_overview_names_every_command_once():
    lines = cli.app.get_help(click.Context(cli.app, info_name="augmentor")).splitlines()
    named = [
        line.split()[0] for line in lines if line.startswith("  ") and line[2:3].strip() and line.split()[0] in COMMANDS
    ]
    assert named == COMMANDS
