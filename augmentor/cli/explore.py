"""``augmentor explore [DATA]``"""

from __future__ import annotations

import webbrowser
from typing import Any

import click

from ._options import augment_options, command_line, data_options, shared_options
from ._output import finish, say, tell


@click.command()
@click.argument("data", default="digits")
@data_options
@augment_options
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Port of the page; 0 is any free port.")
@click.option(
    "--host", default="127.0.0.1",
    help="Address to listen on. With an address other than the default, everyone who can reach it can open any data "
    "set and weights file that you can read.",
)  # fmt: skip
@click.option("--no-browser", is_flag=True, help="Print the address, and do not open a browser.")
@shared_options
def explore(
    data: str, reading: dict[str, Any], autoencoder: str, policy: str, residual: Any, port: int, host: str,
    no_browser: bool, seed: int, device: str,
) -> None:  # fmt: skip
    """Show DATA, reconstructions and samples in a local web page with sliders.

    The settings of the page can be copied as Python, as a command or as a policy.json. Ctrl-C ends the command.
    """
    from ..views.explore import Explorer, Settings
    from ..views.explore.server import serve

    explorer = Explorer(device)
    settings = Settings(data, **reading, autoencoder=autoencoder, policy=policy,
                        residual=None if residual == "auto" else residual, seed=seed)  # fmt: skip
    server = serve(explorer, settings, host, port)
    view = explorer.view(settings)  # bad input ends the command before the page opens
    known = f"{view.config['autoencoder']} ({view.family})"
    say(data=f"{data}: {view.total} images, {view.selected} of them shown", autoencoder=known,
        verdict=view.verdict, policy=view.settings.policy, residual=view.settings.residual, seed=seed,
        device=device)  # fmt: skip
    address = f"http://{f'[{host}]' if ':' in host else host}:{server.port}/"
    tell(f"open {address}   (Ctrl-C ends the command)")
    if not no_browser:
        webbrowser.open(address)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        server.server_close()
    finish(next=command_line("tune", data, reading=reading, autoencoder=view.config["autoencoder"]))
