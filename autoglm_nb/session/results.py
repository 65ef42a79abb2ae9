"""What a study found: best configuration, trials as a table, the tuned model, the report."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autoglm_nb.errors import StoreError
from autoglm_nb.protocol import FinalSnapshot, Snapshot, TrialSnapshot
from autoglm_nb.record import words
from autoglm_nb.store import Store, refuse_if_rejected, snapshot

if TYPE_CHECKING:
    import pandas

    from autoglm_nb.explain import Explanation
    from autoglm_nb.models import TunedModel

__all__ = ["Results"]

PAGE = 1000
ALL = ("importance", "convergence", "stopping", "methods")


class Results:
    """Reads the store when asked, so it is never out of date and survives the kernel."""

    def __init__(self, home: Path, name: str) -> None:
        self.home = home
        self.name = name
        self._store = Store(home, create=False)

    @property
    def best_trial(self) -> int | None:
        """Number of the best completed trial; None when there is none yet."""
        return self._snapshot(1)["headline"]["best_trial"]

    @property
    def best_value(self) -> float | None:
        """Its value on the validation split."""
        return self._snapshot(1)["headline"]["best_value"]

    @property
    def best_config(self) -> dict[str, Any]:
        """Its configuration (active hyper-parameters; defaults are not repeated)."""
        return dict(self._snapshot(1)["headline"]["best_config"])

    @property
    def final(self) -> FinalSnapshot | None:
        """Winner and default configuration on the test split; None until confirmed."""
        return self._snapshot(1)["final"]

    @property
    def trials(self) -> pandas.DataFrame:
        """One row per trial: number, state, value(s), `config.*`, metrics, why proposed and why ended."""
        import pandas

        rows = []
        for trial in self._all_trials():
            row: dict[str, Any] = {
                "number": trial["number"],
                "state": trial["state"],
                "value": trial["value"],
                **{f"config.{key}": value for key, value in trial["config"].items()},
                **{key: value for key, value in trial["metrics"].items() if not isinstance(value, dict | list)},
                "seconds": trial["seconds"],
                "proposed_by": trial["proposed_by"],
                "because": trial["because"],
            }
            if len(trial["values"]) > 1:
                row |= {f"value.{i}": value for i, value in enumerate(trial["values"])}
            rows.append(row)
        return pandas.DataFrame(rows)

    @property
    def pareto_front(self) -> list[TrialSnapshot]:
        """The trials no other trial beats in every objective; the best one alone with one objective."""
        front = set(self._snapshot(1)["front"])
        if not front and self.best_trial is not None:
            front = {self.best_trial}
        return [trial for trial in self._all_trials() if trial["number"] in front]

    @property
    def adapter_path(self) -> Path:
        """The folder of the best trial's adapter, in PEFT's layout where PEFT has the method.

        Raises:
            RejectedError: a decision system rejected the model; `adapter(force=True)` hands it out all the same.
            StoreError: no completed trial, or its adapter was removed.
        """
        return self.adapter()

    def adapter(self, *, force: bool = False) -> Path:
        """The same folder; `force` hands out a rejected model too.

        Raises:
            RejectedError: a decision system rejected it, and `force` is False.
            StoreError: no completed trial, or its adapter was removed.
        """
        from autoglm_nb.models.adapters import CARD_FILE

        refuse_if_rejected(self._store, self.name, force=force)
        number = self.best_trial
        if number is None:
            raise StoreError(
                f"A best model needs a completed trial, but study {self.name!r} has none yet. "
                f"Wait for it with `%autotune wait {words.quoted(self.name)}`."
            )
        folder = self._store.run_dir(self.name, f"trial-{number:04d}") / "adapter"
        if (folder / CARD_FILE).is_file():
            return folder
        if self._store.spec(self.name).objective is not None:
            raise StoreError(
                f"A best model needs an adapter, but study {self.name!r} has an objective of its own, "
                "which leaves none."
            )
        raise StoreError(
            f"The adapter of trial {number} of study {self.name!r} is not stored here: it was cleaned away (by "
            "`%autotune clean` or a quota), or did not come along with a shared study. Run the study again under "
            "another name to train it anew, or ask for a zip that has it."
        )

    def best_model(
        self, device: str = "cpu", *, force: bool = False, base: str | os.PathLike[str] | None = None
    ) -> TunedModel:
        """The best trial's model with tokeniser, label names and preprocessing: `.predict(texts)`.

        `base` is the folder of the base model where it cannot be found by its name, as it may be
        with a study that somebody shared.

        Raises:
            RejectedError: a decision system rejected it, and `force` is False.
            StoreError: no completed trial, or its adapter was removed.
        """
        from autoglm_nb.models import TunedModel

        return TunedModel.load(self.adapter(force=force), device=device, base=None if base is None else os.fspath(base))

    def explain(self, what: tuple[str, ...] = ALL, trial: int | None = None) -> Explanation:
        """Why the winner won, as text, table and plot."""
        from autoglm_nb.explain import explain

        return explain(self.home, self.name, what=what, trial=trial)

    def save_report(self, path: str | os.PathLike[str]) -> Path:
        """One self-contained HTML file (or JSON, by its ending)."""
        from autoglm_nb.explain import report

        target = Path(path)
        report(self.home, self.name, target)
        return target

    def __repr__(self) -> str:
        headline = self._snapshot(1)["headline"]
        if headline["best_trial"] is None:
            return f"<results of {self.name!r}: no completed trial yet>"
        return (
            f"<results of {self.name!r}: best {headline['best_value']:.4g} in trial {headline['best_trial']} "
            f"of {headline['finished']}>"
        )

    def _snapshot(self, limit: int) -> Snapshot:
        return snapshot(self._store, self.name, limit=limit)

    def _all_trials(self) -> list[TrialSnapshot]:
        trials: list[TrialSnapshot] = []
        while True:
            page = snapshot(self._store, self.name, offset=len(trials), limit=PAGE)
            trials += page["trials"]
            if not page["trials"] or len(trials) >= page["trials_total"]:
                return trials
