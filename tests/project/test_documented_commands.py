"""Commands that the texts show exist, with the options they are shown with; quick ones on digits are run."""

from __future__ import annotations

import re
import shlex
import warnings
from pathlib import Path

import click
import pytest

from augmentor.cli import app, main
from augmentor.exceptions import AugmentorError
from augmentor.gan import method_class
from augmentor.policies import get_policy

ROOT = Path(__file__).resolve().parents[2]
TEXTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md")),
         *sorted((ROOT / "pretrained").glob("*/card.md")), ROOT / "benchmarks" / "README.md"]  # fmt: skip
# Blocks of these alone, on digits or on what the block itself made, take a second or two.
QUICK = {"info", "preview", "generate", "verify"}


def commands_of(script: str) -> list[list[str]]:
    """The arguments of each `augmentor` in a piece of shell, by whatever starts it."""
    script = re.sub(r"\$\(\(.*?\)\)|\$\w+", "9", script.replace("\\\n", " "))
    found = []
    for line in script.splitlines():
        words = shlex.split(line, comments=True)
        starts = [i for i, word in enumerate(words) if word in ("&&", ";", "||")]
        for begin, end in zip([-1, *starts], [*starts, len(words)], strict=True):
            part = words[begin + 1 : end]
            if "augmentor" in part and (part[0] == "augmentor" or part[part.index("augmentor") - 1] == "-m"):
                found.append(part[part.index("augmentor") + 1 :])
    return found


def blocks_of(text: str) -> list[str]:
    """Fenced shell, and indented lines that start with `augmentor`."""
    return re.findall(r"^```sh\n(.*?)^```", text, re.DOTALL | re.MULTILINE) + re.findall(
        r"^    (augmentor .*)$", text, re.MULTILINE
    )


def mentions_of(text: str) -> list[str]:
    """Commands within a sentence: these may be shortened."""
    return [words for words in re.findall(r"(?<!`)`(augmentor [^`]+)`", text) if "…" not in words]


def parse(arguments: list[str]) -> None:
    """Read the arguments as the command line does, without running anything."""
    group = click.Context(app)
    name, *rest = ("cpu" if word == "cuda" else word for word in arguments)  # a device is looked for at once
    context = app.get_command(group, name).make_context(name, rest, parent=group)
    for option, check in (("policy", get_policy), ("policies", get_policy), ("method", method_class)):
        values = context.params.get(option) or ()
        for value in [values] if isinstance(values, str) else values:
            if value != "auto" and (option, name) != ("method", "pseudo-label"):  # whose methods click knows
                check(value)


BLOCKS = [pytest.param(block, id=f"{path.parent.name}/{path.stem}:{block.split('#')[0].strip()[:40]}")
          for path in TEXTS for block in blocks_of(path.read_text(encoding="utf-8")) if commands_of(block)]  # fmt: skip
RUN = [
    block
    for block in BLOCKS
    if {arguments[0] for arguments in commands_of(block.values[0])} <= QUICK and " digits" in block.values[0]
]
assert len(BLOCKS) > 8
assert len(RUN) >= 2


@pytest.mark.parametrize("block", BLOCKS)
def test_the_commands_of_a_block_can_be_called(block):
    for arguments in commands_of(block):
        parse(arguments)


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_commands_within_sentences_exist_with_these_options(path):
    for mention in mentions_of(path.read_text(encoding="utf-8")):
        arguments = [word for word in commands_of(mention)[0] if word not in ("...", "COMMAND", "|")]
        try:
            parse(arguments or ["--help"])
        except click.MissingParameter:
            pass  # a mention need not be complete
        except click.BadParameter as error:
            pytest.fail(f"`{mention}`: {error.format_message()}")


@pytest.mark.slow
@pytest.mark.parametrize("block", RUN)
def test_quick_blocks_on_digits_run(block, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)  # the command line takes it over
    for arguments in commands_of(block):
        main(arguments)  # a failure is a SystemExit


@pytest.mark.parametrize(
    "script",
    ["augmentor prewiev digits", "augmentor preview digits --polici gaussian",
     "cd x && augmentor train-gan digits --method ganz", "augmentor generate digits --num-samples many",
     "python -m augmentor preview digits --policy gausian"],
)  # fmt: skip
def test_a_wrong_command_would_be_noticed(script):
    with pytest.raises((click.ClickException, AugmentorError), match=r"prewiev|polici|ganz|many|gausian"):
        parse(commands_of(script)[0])
