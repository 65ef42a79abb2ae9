"""The subcommands of `%autotune`: each a small method that talks to a `StudyHandle` and shows what happened."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from IPython.display import display

from autoglm_nb import record, settings
from autoglm_nb.errors import StudyNotFoundError, UsageError, did_you_mean
from autoglm_nb.notebook import surroundings
from autoglm_nb.notebook.failures import StoppedWaiting
from autoglm_nb.notebook.options import DESCRIPTION, Parser, is_variable, split
from autoglm_nb.notebook.team_commands import TEAM_COMMANDS, TeamCommands
from autoglm_nb.record import words

__all__ = ["COMMANDS", "Commands", "identifier"]

COMMANDS: dict[str, str] = {
    "list": "%autotune list",
    "status": "%autotune status [NAME]",
    "pause": "%autotune pause [NAME]",
    "resume": "%autotune resume [NAME]",
    "stop": "%autotune stop [NAME] [--trial N]",
    "wait": "%autotune wait [NAME] [--timeout 10m]",
    "attach": "%autotune attach [NAME] [-o VAR] [--view live|record] [--panel card|progress|resources]",
    "best": "%autotune best [NAME] [-o VAR]",
    **TEAM_COMMANDS,
    "logs": "%autotune logs [NAME] [--lines N]",
    "rename": "%autotune rename NAME NEW",
    "clean": "%autotune clean [NAME] [--keep K]",
    "delete": "%autotune delete NAME --yes",
    "help": "%autotune help [COMMAND]",
}
"""Name and form of every subcommand."""


class Commands(TeamCommands):
    """Runs subcommands for one shell. `last` is the study that NAME means when it is left out."""

    def __init__(self, shell: Any) -> None:
        self.shell = shell
        self.last: str | None = None

    def run(self, line: str) -> None:
        """Carry out `%autotune <line>`.

        Raises:
            UsageError: no such command, or one that was not understood.
        """
        first, _, rest = line.strip().partition(" ")
        if first == "note":  # its text is no list of words
            self._note(rest)
            return
        words_given = split(line)
        name = words_given[0] if words_given else "help"
        if name not in COMMANDS:
            raise UsageError(f"There is no command `%autotune {name}`. {did_you_mean(name, list(COMMANDS))}")
        command: Callable[[list[str]], None] = getattr(self, f"_{name}")
        command(words_given[1:])

    def handle(self, name: str | None) -> Any:
        """The handle of a study; without a name, of the one used last or the only one there is.

        Raises:
            UsageError: a name is needed.
            StudyNotFoundError: no study of that name.
        """
        from autoglm_nb import session

        if name is None:
            stored = [s.name for s in session.studies()]
            name = self.last if self.last in stored else stored[0] if len(stored) == 1 else None
            if name is None:
                known = ", ".join(stored[:8]) or "none is stored here yet"
                raise UsageError(f"A study's name is needed. Stored: {known}.")
        try:
            handle = session.attach(name)
        except FileNotFoundError:
            place = settings.shown_path(settings.home())
            raise StudyNotFoundError(f"There is no study named {name!r} in {place}.") from None
        self.last = handle.name
        return handle

    # -- showing --------------------------------------------------------------------------------------------

    def show(self, handle: Any, *, output: str | None = None, view: str = "live", panel: str = "card") -> None:
        """Record and live view of a study, or one panel of it, below the cell; bind the handle where asked."""
        from autoglm_nb.notebook import cards

        self.last = handle.name
        if output:
            self.shell.user_ns[output] = handle
        live = view == "live" and surroundings.has_widgets(self.shell)
        cards.open_card(handle, live=live, cell=surroundings.cell_id(self.shell), panel=panel)

    def show_notes(self, notes: Iterable[str]) -> None:
        """Sentences worth knowing before a study starts."""
        for note in notes:
            self.say(note)

    def show_forecast(self, forecast: Mapping[str, Any]) -> None:
        """What `--dry-run` found, as a small table."""
        from autoglm_nb.notebook.forecast import forecast_bundle

        display(forecast_bundle(forecast), raw=True)

    def say(self, sentence: str) -> None:
        """One line below the cell."""
        display({"text/plain": words.clean(sentence, 2000)}, raw=True)

    # -- commands -------------------------------------------------------------------------------------------

    def _list(self, given: list[str]) -> None:
        from autoglm_nb import session

        self._parse("list", given)
        stored = session.studies()
        display({"text/plain": record.studies_text(stored), "text/html": record.studies_html(stored)}, raw=True)

    def _status(self, given: list[str]) -> None:
        from autoglm_nb import session
        from autoglm_nb.record.story import ACTIVE

        name = self._parse("status", given, ("name", {"nargs": "?"})).name
        if name is not None:
            display(record.bundle(self.handle(name).snapshot()), raw=True)
            return
        active = [s for s in session.studies() if str(s.state) in ACTIVE or str(s.state) in ("paused", "interrupted")]
        if not active:
            self.say("Nothing is running. `%autotune list` shows what is stored.")
            return
        display({"text/plain": record.studies_text(active), "text/html": record.studies_html(active)}, raw=True)

    def _pause(self, given: list[str]) -> None:
        handle = self._named("pause", given)
        if handle.status in ("finished", "stopped", "failed", "interrupted"):
            self.say(f"Study {handle.name!r} is {handle.status}: there is nothing to pause.")
            return
        handle.pause()
        again = f"`%autotune resume {words.quoted(handle.name)}` goes on."
        self.say(f"Study {handle.name!r} pauses after the present step. {again}")

    def _resume(self, given: list[str]) -> None:
        handle = self._named("resume", given)
        if handle.status == "finished":
            self.say(f"Study {handle.name!r} is finished. The same cell with more `--trials` continues it.")
            return
        handle.resume()
        self.say(f"Study {handle.name!r} goes on.")

    def _stop(self, given: list[str]) -> None:
        asked = self._parse("stop", given, ("name", {"nargs": "?"}), ("--trial", {"type": int}))
        handle = self.handle(asked.name)
        if asked.trial is not None:
            handle.stop_trial(asked.trial)
            self.say(f"Trial {asked.trial} of study {handle.name!r} ends after the present step.")
        elif handle.status in ("finished", "stopped", "failed"):
            self.say(f"Study {handle.name!r} is {handle.status} already.")
        else:
            handle.stop()
            self.say(f"Study {handle.name!r} stops. Finished trials are kept; the same cell continues it.")

    def _wait(self, given: list[str]) -> None:
        from autoglm_nb.session import checks

        asked = self._parse("wait", given, ("name", {"nargs": "?"}), ("--timeout", {}))
        handle = self.handle(asked.name)
        try:
            handle.wait(checks.parse_budget(asked.timeout) if asked.timeout else None)
        except KeyboardInterrupt:
            raise StoppedWaiting(
                f"Stopped waiting. Study {handle.name!r} goes on in the background; "
                f"`%autotune stop {words.quoted(handle.name)}` ends it."
            ) from None
        except TimeoutError as late:
            paused = handle.status == "paused"
            again = f"`%autotune resume {words.quoted(handle.name)}` goes on."
            after = again if paused else "It goes on in the background."
            raise UsageError(f"{late} {after}") from None
        story = record.Story(handle.snapshot())
        line = f"{story.name} {words.state_words(story.state)}. {story.best} {story.gain}".rstrip() + "."
        self.say(f"{line} {story.reason}".rstrip())

    def _attach(self, given: list[str]) -> None:
        asked = self._parse(
            "attach", given, ("name", {"nargs": "?"}), ("-o", {}), ("--view", {"choices": ["live", "record"]}),
            ("--panel", {"choices": ["card", "progress", "resources"], "default": "card"}),
        )  # fmt: skip
        view = asked.view or "live"
        self.show(self.handle(asked.name), output=identifier(asked.o), view=view, panel=asked.panel)

    def _best(self, given: list[str]) -> None:
        asked = self._parse("best", given, ("name", {"nargs": "?"}), ("-o", {}))
        output = identifier(asked.o)
        handle = self.handle(asked.name)
        story = record.Story(handle.snapshot())
        if output:
            self.shell.user_ns[output] = handle
        lines = [f"{story.best} {story.gain}".rstrip()]
        if story.headline.get("best_trial") is not None:
            lines[0] += f", trial {story.headline['best_trial']}"
        lines += [f"  {name} = {value}" for name, value in words.config_items(story.headline.get("best_config") or {})]
        lines += [story.final_sentence] if story.final_sentence else []
        lines += [story.advice] if story.advice else []
        display({"text/plain": "\n".join(lines)}, raw=True)

    def _logs(self, given: list[str]) -> None:
        asked = self._parse("logs", given, ("name", {"nargs": "?"}), ("--lines", {"type": int, "default": 40}))
        handle = self.handle(asked.name)
        text = words.clean(handle.log(max(1, asked.lines)), 200_000, lines=True)
        display({"text/plain": text or f"No worker has written anything about study {handle.name!r} here."}, raw=True)

    def _rename(self, given: list[str]) -> None:
        from autoglm_nb.notebook import cards
        from autoglm_nb.store import Store

        asked = self._parse("rename", given, ("name", {}), ("new", {}))
        handle = self.handle(asked.name)
        _refuse_active(handle, "renamed")
        cards.close_study(handle)
        Store(handle.home, create=False).rename_study(handle.name, asked.new)
        self.last = asked.new
        self.say(
            f"Study {handle.name!r} is now named {asked.new!r}. "
            f"A cell that says `--name {words.quoted(handle.name)}` would start a new study; change it too."
        )

    def _clean(self, given: list[str]) -> None:
        from autoglm_nb.store import Store

        asked = self._parse("clean", given, ("name", {"nargs": "?"}), ("--keep", {"type": int, "default": 0}))
        if asked.keep < 0:
            raise UsageError(f"`--keep` must be 0 or more adapters, but got {asked.keep}.")
        handle = self.handle(asked.name)
        _refuse_active(handle, "cleaned")
        freed = Store(handle.home, create=False).clean(handle.name, last=asked.keep)
        last = f", the last {asked.keep}" if asked.keep else ""
        self.say(
            f"Study {handle.name!r}: {freed / 1e6:.1f} MB freed. Results and the adapters of the best trial{last} "
            "and of starred trials are kept."
        )

    def _delete(self, given: list[str]) -> None:
        from autoglm_nb.notebook import cards
        from autoglm_nb.store import Store

        asked = self._parse("delete", given, ("name", {}), ("--yes", {"action": "store_true"}))
        handle = self.handle(asked.name)
        _refuse_active(handle, "deleted")
        if not asked.yes:
            trials = handle.snapshot()["trials_total"]
            raise UsageError(
                f"Deleting study {handle.name!r} removes {trials} trials and their adapters for good. "
                f"Add --yes if that is meant."
            )
        cards.close_study(handle)
        Store(handle.home, create=False).delete_study(handle.name)
        self.last = None
        self.say(f"Study {handle.name!r} is deleted.")

    def _help(self, given: list[str]) -> None:
        name = self._parse("help", given, ("command", {"nargs": "?"})).command
        if name is not None and name not in COMMANDS:
            raise UsageError(f"There is no command `%autotune {name}`. {did_you_mean(name, list(COMMANDS))}")
        display({"text/plain": COMMANDS[name] if name else DESCRIPTION + "\n%%autotune? lists all options."}, raw=True)

    def _named(self, command: str, given: list[str]) -> Any:
        return self.handle(self._parse(command, given, ("name", {"nargs": "?"})).name)

    def _parse(self, command: str, given: list[str], *arguments: tuple[str, dict[str, Any]]) -> Any:
        parser = Parser(prog=f"%autotune {command}", usage=COMMANDS[command], add_help=False, allow_abbrev=False)
        for name, settings_given in arguments:
            parser.add_argument(name, **settings_given)
        return parser.parse_args(given)


def identifier(name: str | None) -> str | None:
    """The variable of `-o`, None where it was not given.

    Raises:
        UsageError: no variable can be called so.
    """
    if name is not None and not is_variable(name):
        raise UsageError(f"`-o` needs a variable's name, but got {name!r}. Write one such as study.")
    return name


def _refuse_active(handle: Any, what: str) -> None:
    if handle.status in ("queued", "preparing", "running", "confirming", "paused"):
        raise UsageError(
            f"A study cannot be {what} while it is {handle.status}. "
            f"`%autotune stop {words.quoted(handle.name)}` ends it first."
        )
