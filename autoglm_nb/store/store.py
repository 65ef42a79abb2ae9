"""The store: everything that is known about studies, in one file beside the notebook."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from autoglm_nb.errors import StoreError, StoreVersionError
from autoglm_nb.settings import shown_path
from autoglm_nb.store import _schema
from autoglm_nb.store._database import is_disk_full
from autoglm_nb.store.control import Control
from autoglm_nb.store.folders import Folders

if TYPE_CHECKING:
    import optuna

__all__ = ["Store"]


class Store(Folders, Control):
    """Studies, runs, control requests, leases and notes in `<home>/studies.db`.

    Threads: every method may be called from any thread; each thread has its own
    connection. Processes: any number may use one store at the same time. Only
    `optuna_study` and `optuna_storage` import Optuna; everything else is SQL.

    Args:
        home: the folder `.autoglm`.
        create: make the store when it is missing.
        read_only: open what is there for reading alone; every write is refused with a StoreError.

    Raises:
        StoreError: no store there (`create=False` or `read_only`), not a database, damaged or not readable.
        StoreVersionError: a newer version of this package made it; the file is left as it is.
    """

    _storage: optuna.storages.RDBStorage | None = None

    def optuna_storage(self) -> optuna.storages.RDBStorage:
        """Optuna's storage on the same file, made once per `Store`.

        Raises:
            StoreVersionError: another version of Optuna made the tables.
        """
        with self._lock:
            if self._storage is None:
                self._storage = self._open_optuna()
            return self._storage

    def optuna_study(self, name: str, directions: Sequence[str]) -> optuna.Study:
        """Optuna's study of that name, created with these directions or loaded.

        Args:
            name: the study's name.
            directions: `minimize` or `maximize` for each objective.

        Raises:
            StoreError: it is there with other directions.
        """
        import optuna

        wanted = [optuna.study.StudyDirection[d.upper()] for d in directions]
        with self._errors():
            study = optuna.create_study(
                storage=self.optuna_storage(), study_name=name, directions=wanted, load_if_exists=True
            )
        if study.directions != wanted:
            stored = [d.name.lower() for d in study.directions]
            raise StoreError(
                f"Study {name!r} is stored with the directions {', '.join(stored)}, but {', '.join(directions)} "
                "was asked for. Start it under another name."
            )
        return study

    def close(self) -> None:
        """Closes every connection, Optuna's too."""
        with self._lock:
            if self._storage is not None:
                self._storage.remove_session()
                self._storage.engine.dispose()
                self._storage = None
        super().close()

    def _open_optuna(self) -> optuna.storages.RDBStorage:
        import optuna
        import sqlalchemy

        def creator() -> sqlite3.Connection:
            return sqlite3.connect(self.path, timeout=_schema.BUSY_SECONDS, check_same_thread=False)

        for attempt in range(5):
            try:
                # A creator instead of a path in the URL: Optuna fills in {braces} and SQLAlchemy splits at "?".
                return optuna.storages.RDBStorage("sqlite:///studies.db", engine_kwargs={"creator": creator})
            except RuntimeError as error:
                raise StoreVersionError(
                    f"Optuna's tables in {shown_path(self.path)} were made by another version of Optuna than the one "
                    f"installed. {error}"
                ) from error
            except sqlalchemy.exc.SQLAlchemyError as error:
                # Two processes may create the tables at the same time; the slower one looks again.
                if attempt == 4 or is_disk_full(error):
                    raise
                time.sleep(0.1 * (attempt + 1))
        raise AssertionError("unreachable")
