"""The Jupyter server extension: every study of this server over REST, for the sidebar and other machines.

Contract: below `<base url>/autoglm/api/`, with Jupyter's own authentication,
authorisation (resource `autoglm`) and protection against cross-site requests.
Every answer but the Prometheus text is `{"code", "message", "data"}`; `code` is
0, or the HTTP status beside a sentence. It changes nothing but two tables:
control requests, which a worker reads, and notes.

Data flow: stores are found in the registry and below the server's own folder;
their paths stay here, and a hash stands for them outside. A request is answered
in a thread from a read-only connection, and kept until the store has changed;
the event loop never waits for a disk.

Failure modes: a store that is damaged or of a newer version is a sentence in
the list of studies, and every other store is shown. Neither torch, optuna,
transformers nor pandas is imported, so the server may live in an environment
without them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jupyter_server.serverapp import ServerApp

__all__ = ["_load_jupyter_server_extension"]


def _load_jupyter_server_extension(serverapp: ServerApp) -> None:
    """Adds the routes to a running server; Jupyter calls this by name."""
    from autoglm_nb.server.extension import add_routes

    add_routes(serverapp)
