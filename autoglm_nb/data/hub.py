"""Data sets of the hub, asked for only when it answers within the probe's time.

`probe` decides first: the hub's own client retries for tens of seconds. A set already in the client's cache is used
without a network.
"""

from __future__ import annotations

import re
from typing import Any

from autoglm_nb import probe
from autoglm_nb.errors import DataError

__all__ = ["looks_like_hub_id", "read_hub"]

_HUB_ID = re.compile(r"^[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?(:[\w.-]+)?$")


def looks_like_hub_id(source: str) -> bool:
    """Whether `source` could be "name", "owner/name" or "owner/name:configuration"."""
    return bool(_HUB_ID.match(source))


def read_hub(source: str, split: str = "train") -> Any:
    """The `datasets.Dataset` of one split of a hub set.

    Raises:
        DataError: the hub does not answer and the set is not cached, or the hub has no such set or split.
    """
    name, _, configuration = source.partition(":")
    online = probe.hub_reachable()
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
