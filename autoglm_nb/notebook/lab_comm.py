"""The kernel's answer to a record that looks for its study: a comm in place of a widget.

A saved record has no widget. Where the server extension is not installed, the
page opens a comm to the notebook's kernel and gets what the lab widget would
get: the parts of the picture, then those that change, and replies to requests.
Nothing of the store is imported until a page asks, so that `%load_ext` stays cheap.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

__all__ = ["TARGET", "install", "remove"]

TARGET = "autoglm.study"


def install(shell: Any) -> None:
    """Listen for records of this kernel's page; nothing happens where there is no kernel."""
    manager = _manager(shell)
    if manager is not None:
        manager.register_target(TARGET, _opened)


def remove(shell: Any) -> None:
    """Stop listening; comms that are open stay until the page closes them."""
    manager = _manager(shell)
    if manager is not None and TARGET in getattr(manager, "targets", {}):
        manager.unregister_target(TARGET, _opened)


class _Line:
    """One open comm."""

    def __init__(self, comm: Any, handle: Any) -> None:
        from autoglm_nb.notebook.lab_answers import Answers

        self._comm = comm
        self._lock = threading.Lock()
        self._sent: dict[str, Any] = {}
        self._closed = False
        self._workers = ThreadPoolExecutor(1, thread_name_prefix="autoglm-record")
        self._answers = Answers(handle)
        comm.on_msg(self._asked)
        comm.on_close(lambda _: self.close())
        self.update(handle.snapshot())
        self._unfollow = handle.follow(self.update)

    def update(self, snapshot: Mapping[str, Any]) -> None:
        from autoglm_nb.notebook.lab_parts import parts

        fresh = parts(snapshot)
        with self._lock:
            changed = {name: part for name, part in fresh.items() if self._sent.get(name) != part}
            if changed and not self._closed:
                self._sent.update(changed)
                self._comm.send({"kind": "parts", "parts": changed})

    def close(self) -> None:
        with self._lock:
            if self._closed:
                return
            self._closed = True
        self._unfollow()
        self._workers.shutdown(wait=False, cancel_futures=True)

    def _asked(self, message: Mapping[str, Any]) -> None:
        content = dict(message["content"]["data"])
        if not self._closed:
            self._workers.submit(self._reply, content)

    def _reply(self, content: dict[str, Any]) -> None:
        reply, buffers = self._answers.reply(content)
        with self._lock:
            if not self._closed:
                self._comm.send(reply, buffers=buffers)


def _opened(comm: Any, message: Mapping[str, Any]) -> None:
    """A page asks for a study by name, identity and moment of creation; where one differs it is another study."""
    from autoglm_nb import settings
    from autoglm_nb.errors import AutoGLMError
    from autoglm_nb.session import attach

    asked = message["content"]["data"]
    name = str(asked.get("name") or "")
    try:
        handle = attach(name, settings.home())
        if handle.spec.identity != asked.get("identity") or not _made_then(handle, asked.get("created_at")):
            comm.close()
            return
        _Line(comm, handle)
    except AutoGLMError:
        comm.close()


def _made_then(handle: Any, asked: object) -> bool:
    """Whether the study was made when the record says, to the second; records of older versions do not say."""
    from autoglm_nb.record import words

    made = words.finite((handle.snapshot().get("study") or {}).get("created_at"))
    given = words.finite(asked)
    return made is None or given is None or abs(made - given) < 1


def _manager(shell: Any) -> Any:
    return getattr(getattr(shell, "kernel", None), "comm_manager", None)
