"""What the routes ask: every question and every change, as plain calls that block.

The handlers run these in threads and know nothing of stores. Reading goes
through `Shelf` (read-only connections) and `Answers`; a change opens the store
for writing for as long as it takes to add one row.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Hashable, Mapping
from pathlib import Path
from typing import Any

from autoglm_nb import __version__, record
from autoglm_nb.errors import AutoGLMError, StudyNotFoundError
from autoglm_nb.server import changes, lists
from autoglm_nb.server.answers import Answer, Answers
from autoglm_nb.server.machine import Machine
from autoglm_nb.server.places import Place, Places
from autoglm_nb.server.shelf import OpenStore, Shelf
from autoglm_nb.store import EventTail, Store, device_queues, points, snapshot, trial_page
from autoglm_nb.store.studies import check_name

__all__ = ["Desk"]

_EVENTS = 500


class Desk:
    """Answers for one server. Threads may share it.

    Every method that takes a home and a name raises `StudyNotFoundError` where there is no such
    store or study, `UsageError` for a name that no study can have, and `StoreError` for a store
    that cannot be read. No message holds a path of this machine.

    Args:
        root: the folder that the server serves; None where its files are not on a disk.
    """

    def __init__(self, root: Path | None) -> None:
        self.places = Places(root)
        self.machine = Machine()
        self._shelf = Shelf(self.places)
        self._answers = Answers()

    def close(self) -> None:
        """Closes every store, and the thread that reads the machine."""
        self._shelf.close()
        self.machine.close()

    # -- lists ----------------------------------------------------------------------------------------------

    def studies(self, states: frozenset[str] = frozenset()) -> Answer:
        """Every study of every store, or those in the given states; working ones first, then the latest changed."""
        found, faults = self._stores()
        stamp = (tuple((s.place.id, s.file, s.watch.stamp()) for s in found), tuple(map(tuple, faults)))

        def make() -> Mapping[str, Any]:
            lines, told = self._lines(found)
            chosen = [line for line in lines if not states or line["state"] in states]
            return {"studies": chosen, "faults": [_fault(*f) for f in (*faults, *told)], "etag": None}

        return self._answers.get(("studies", states), stamp, make)

    def queue(self) -> Answer:
        """Every device in use, who works there and who waits."""
        found, _ = self._stores()
        stamp = tuple((s.place.id, s.file, s.watch.stamp()) for s in found)

        def make() -> Mapping[str, Any]:
            return {"devices": [d for s in found for d in lists.queue_entries(s.place, device_queues(s.store))]}

        return self._answers.get("queue", stamp, make)

    def health(self) -> dict[str, Any]:
        """Whether every store can be read."""
        found, faults = self._stores()
        for opened in found:
            try:
                opened.watch.stamp()
            except AutoGLMError as error:
                faults.append((opened.place.id, opened.place.folder, opened.place.told(str(error))))
        return {
            "status": "degraded" if faults else "ok",
            "version": __version__,
            "stores": len(found),
            "faults": [_fault(*f) for f in faults],
        }

    def overview(self) -> tuple[list[dict[str, Any]], int]:
        """The lines of all studies as plain dictionaries, and how many stores or studies could not be read."""
        found, faults = self._stores()
        lines, told = self._lines(found)
        return lines, len(faults) + len(told)

    def resources(self) -> dict[str, Any]:
        """The machine now, and the process of every worker on it."""
        found, _ = self._stores()
        return self.machine.read([(s.place, lease) for s in found for lease in s.store.leases()])

    # -- one study ------------------------------------------------------------------------------------------

    def head(self, home: str, name: str) -> Answer:
        """The snapshot of a study without its trials."""
        opened = self._opened(home, name)

        def make() -> Mapping[str, Any]:
            with opened.following(name) as live:
                picture = snapshot(opened.store, name, live=live, limit=0)
            study = picture["study"]
            study["notebook"] = self.places.notebook(opened.place, study["notebook"])[0]
            study["reason"] = opened.place.told(study["reason"])
            picture["messages"] = [{**m, "text": opened.place.told(str(m.get("text")))} for m in picture["messages"]]
            return picture

        return self._study_answer(opened, name, ("head",), make)

    def page(self, home: str, name: str, **asked: Any) -> Answer:
        """A page of trials; the arguments of `store.trial_page`.

        Raises:
            UsageError: an order, a key or a comparison that is not understood.
        """
        opened = self._opened(home, name)

        def make() -> Mapping[str, Any]:
            with opened.following(name) as live:
                return trial_page(opened.store, name, live=live, **asked)

        return self._study_answer(opened, name, ("page", *sorted(asked.items())), make)

    def points(self, home: str, name: str, *, parameters: bool, objectives: bool) -> Answer:
        """Every trial as arrays."""
        opened = self._opened(home, name)

        def make() -> Mapping[str, Any]:
            return points(opened.store, name, parameters=parameters, objectives=objectives)

        # Steps and readings change no point: the tables alone decide.
        stamp = opened.watch.fingerprints().get(name)
        return self._study_answer(opened, name, ("points", parameters, objectives), make, stamp)

    def record(self, home: str, name: str) -> Answer:
        """The record as a notebook's output holds it, by MIME type; a reopened page saves it over an older one."""
        opened = self._opened(home, name)

        def make() -> Mapping[str, Any]:
            with opened.following(name) as live:
                picture = snapshot(opened.store, name, live=live)
            study = picture["study"]
            study["notebook"] = os.path.basename((study["notebook"] or "").replace("\\", "/")) or None
            study["reason"] = opened.place.told(study["reason"])
            return {"bundle": record.bundle(picture)}

        return self._study_answer(opened, name, ("record",), make)

    def notes(self, home: str, name: str) -> Answer:
        """The notes of a study and its trials, oldest first."""
        opened = self._opened(home, name)
        return self._study_answer(opened, name, ("notes",), lambda: {"notes": opened.store.notes(name)})

    def events(self, home: str, name: str, after: int) -> dict[str, Any]:
        """Events of a study numbered above `after`, at most the newest 500, and the number of the last."""
        opened = self._opened(home, name)
        tail = EventTail(opened.store.study_dir(name) / "events.jsonl")
        found = [{"n": e.n, "t": e.t, "type": e.type, "data": e.data} for e in tail.poll() if e.n > after]
        return {"events": found[-_EVENTS:], "n": found[-1]["n"] if found else after}

    # -- changes --------------------------------------------------------------------------------------------

    def control(self, home: str, name: str, body: object) -> dict[str, Any]:
        """Leaves a request for a study's worker.

        Raises:
            UsageError: a body that is not understood.
            Refused: nobody is there who could do it.
        """
        return self._change(home, name, lambda store: {"id": changes.control(store, name, body)})

    def add_note(self, home: str, name: str, body: object, author: str) -> dict[str, Any]:
        """Adds a note.

        Raises:
            UsageError: a body that is not understood.
        """
        return self._change(home, name, lambda store: {"id": changes.add_note(store, name, body, author)})

    def remove_note(self, home: str, name: str, id: str) -> dict[str, Any]:
        """Removes a note; one that is gone already is no error."""
        return self._change(home, name, lambda store: {"removed": changes.remove_note(store, name, id)})

    # -- within ---------------------------------------------------------------------------------------------

    def _stores(self) -> tuple[list[OpenStore], list[tuple[str, str, str]]]:
        """The stores that can be opened, and id, folder and sentence of each that cannot."""
        places = self.places.all()
        self._shelf.keep_only(frozenset(places))
        found, faults = [], []
        for place in places.values():
            try:
                found.append(self._shelf.take(place))
            except (AutoGLMError, OSError, sqlite3.Error) as error:
                faults.append((place.id, place.folder, place.told(str(error))))
        return found, faults

    def _lines(self, found: list[OpenStore]) -> tuple[list[dict[str, Any]], list[tuple[str, str, str]]]:
        lines: list[dict[str, Any]] = []
        faults: list[tuple[str, str, str]] = []
        for opened in found:
            place = opened.place
            try:
                stored, told = opened.overview.lines()
            except (AutoGLMError, sqlite3.Error) as error:
                stored, told = [], [str(error)]
            lines += [lists.study_entry(self.places, place, line) for line in stored]
            faults += [(place.id, place.folder, place.told(sentence)) for sentence in told]
        return lists.in_order(lines), faults

    def _place(self, home: str) -> Place:
        place = self.places.all().get(home)
        if place is None:
            raise StudyNotFoundError("This server knows no such study store: it may have been moved or deleted.")
        return place

    def _opened(self, home: str, name: str) -> OpenStore:
        check_name(name)
        place = self._place(home)
        try:
            opened = self._shelf.take(place)
            if not opened.store.has_study(name):
                raise StudyNotFoundError(
                    f"There is no study named {name!r} in this store: it may have been renamed or deleted."
                )
            return opened
        except AutoGLMError as error:
            raise _retold(place, error) from error

    def _study_answer(
        self,
        opened: OpenStore,
        name: str,
        asked: tuple[Hashable, ...],
        make: Callable[[], Mapping[str, Any]],
        stamp: Hashable = None,
    ) -> Answer:
        try:
            stamp = opened.watch.study_stamp(name) if stamp is None else stamp
            return self._answers.get((opened.place.id, opened.file, name, *asked), stamp, make)
        except AutoGLMError as error:
            raise _retold(opened.place, error) from error

    def _change(self, home: str, name: str, change: Callable[[Store], dict[str, Any]]) -> dict[str, Any]:
        place = self._opened(home, name).place
        try:
            with Store(place.home, create=False) as store:
                return change(store)
        except AutoGLMError as error:
            raise _retold(place, error) from error


def _fault(home: str, folder: str, message: str) -> dict[str, str]:
    return {"home": home, "folder": folder, "message": message}


def _retold(place: Place, error: AutoGLMError) -> AutoGLMError:
    """The same error without the store's path in its sentence."""
    error.args = (place.told(str(error)), *error.args[1:])
    return error
