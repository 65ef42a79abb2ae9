"""Sharing: a stored study as one file for a teammate, and such a file brought into a store.

Contract: `share_page` writes one self-contained HTML page, `share_zip` a zip that
`open_shared` brings into another store. Both read the store and change nothing in it; the
same study gives the same bytes. No absolute path, account name, host name or data row
leaves, unless data is asked for. A zip is hostile until it has been checked: what
`archive` lets through is data of known names, sizes and checksums, what `content` lets
through are records of known types; nothing of it is executed, unpickled or drawn unescaped.

Data flow: store -> `store.portable` -> `privacy` -> `pages`, `card`, `pack` -> file, and
file -> `archive` -> `content`, `adapter_files` -> `opening` -> `store.bring_in`.

Failure modes: a file that cannot be opened raises `SharedFileError` with what is wrong
and leaves the store as it was; a name that is taken is never overwritten.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from autoglm_nb.lazy import front_door

if TYPE_CHECKING:
    from autoglm_nb.sharing.opening import Opened, open_shared
    from autoglm_nb.sharing.pack import share_page, share_zip

__all__ = ["Opened", "open_shared", "share_page", "share_zip"]

_HOMES = {"Opened": "opening", "open_shared": "opening", "share_page": "pack", "share_zip": "pack"}

__getattr__ = front_door(__name__, _HOMES)
