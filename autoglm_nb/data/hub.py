"""Data sets of the hub, asked for only when it answers within the probe's time.

The hub's own client retries for tens of seconds when the hub is unreachable; one
short request of ours decides first. A set already in the client's cache is used
without a network.
"""

from __future__ import annotations

import re
import threading
import urllib.error
import urllib.request
from typing import Any

from autoglm_nb import settings
from autoglm_nb.errors import DataError

__all__ = ["looks_like_hub_id", "read_hub", "reachable"]

_HUB_ID = re.compile(r"^[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?(:[\w.-]+)?$")


def looks_like_hub_id(source: str) -> bool:
    """Whether `source` could be "name", "owner/name" or "owner/name:configuration"."""
    return bool(_HUB_ID.match(source))


def reachable() -> bool:
    """Whether the hub answers within `settings.hub_probe_seconds()`."""
    if settings.offline():
        return False
    answered = threading.Event()

    def ask() -> None:
        from huggingface_hub import constants

        request = urllib.request.Request(constants.ENDPOINT, method="HEAD")
        try:
            urllib.request.urlopen(request, timeout=settings.hub_probe_seconds()).close()
        except urllib.error.HTTPError:
            pass  # it answered
        except (OSError, ValueError):
            return
        answered.set()

    threading.Thread(target=ask, daemon=True, name="autoglm-hub-probe").start()  # name look-up ignores time-outs
    return answered.wait(settings.hub_probe_seconds())


def read_hub(source: str, split: str = "train") -> Any:
    """The `datasets.Dataset` of one split of a hub set.

    Raises:
        DataError: the hub does not answer and the set is not cached, or the hub has no such set or split.
    """
    name, _, configuration = source.partition(":")
    online = reachable()
    import datasets

    options = None if online else datasets.DownloadConfig(local_files_only=True)
    try:
        return datasets.load_dataset(name, configuration or None, split=split, download_config=options)
    except Exception as error:  # the client raises many kinds
        if not online:
            raise DataError(
                f"{source!r} is neither a file here nor in the catalogue, and the hub does not answer. "
                "Check the path, or connect and try again."
            ) from error
        raise DataError(
            f"The hub has no data set {source!r} with a {split!r} split that can be read "
            f"({str(error).splitlines()[0][:200] if str(error) else type(error).__name__}). Check the name."
        ) from error
