"""`%autotune note`, `share` and `open`: what people do with a study together.

Sharing and opening run in a process of their own, for whose end the cell waits: the
kernel loads neither figures nor Optuna. A note's text is taken as it was typed, quotation
marks and apostrophes included.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from IPython.display import display

from autoglm_nb import settings
from autoglm_nb.errors import SharedFileError, UsageError, did_you_mean
from autoglm_nb.record import words

__all__ = ["TEAM_COMMANDS", "NoteRequest", "TeamCommands", "read_note"]

TEAM_COMMANDS: dict[str, str] = {
    "note": "%autotune note NAME [--trial N] [--tag TAG] [--star | --unstar] [--remove ID] [TEXT]",
    "share": "%autotune share [NAME] [--html FILE] [--zip FILE] [--include-data] [--force]",
    "open": "%autotune open FILE [--name NAME] [-o VAR]",
}
"""Name and form of the subcommands of this file."""

_VALUED = ("--trial", "--tag", "--remove")
_FLAGS = ("--star", "--unstar")
_WORD = re.compile(r"""\s*(?:"([^"]*)"|'([^']*)'|(\S+))""")


@dataclass(frozen=True)
class NoteRequest:
    """What a `note` line asks for."""

    name: str
    text: str = ""
    trial: int | None = None
    tag: str | None = None
    star: bool = False
    unstar: bool = False
    remove: str | None = None


def read_note(line: str) -> NoteRequest:
    """The request of what follows `%autotune note`: a name, options, then the text as it was typed.

    Raises:
        UsageError: no name, an option that is unknown, lacks its value or stands after the text.
    """
    name, rest = _word(line)
    if not name or name.startswith("-"):
        raise UsageError(f"A note needs the study's name first. `{TEAM_COMMANDS['note']}` is its form.")
    given: dict[str, Any] = {}
    while rest.lstrip().startswith("--"):
        word, rest = _word(rest)
        option, equals, value = word.partition("=")
        if option in _FLAGS and not equals:
            given[option[2:]] = True
        elif option in _VALUED:
            if not equals:
                value, rest = _word(rest)
            if not value:
                raise UsageError(
                    f"`{option}` needs a value, but none was given. `{TEAM_COMMANDS['note']}` is its form."
                )
            given[option[2:]] = _whole(value) if option == "--trial" else value
        else:
            raise UsageError(f"There is no option `{option}` here. {did_you_mean(option, [*_VALUED, *_FLAGS])}")
    text = rest.strip()
    late = [w for w in text.split() if w.partition("=")[0] in (*_VALUED, *_FLAGS)]
    if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'":
        text = text[1:-1].strip()
    elif late:
        raise UsageError(
            f"Options stand before a note's text, but `{late[0]}` stands in it. Quote the text, or move it."
        )
    if given.get("star") and given.get("unstar"):
        raise UsageError("`--star` and `--unstar` cannot both be meant. Give one of them.")
    if "remove" in given and (len(given) > 1 or text):
        raise UsageError("`--remove` takes one note away and does nothing else. Give it alone.")
    return NoteRequest(name, text, **given)


class TeamCommands:
    """The part of `Commands` that works with other people."""

    shell: Any
    last: str | None

    def _note(self, line: str) -> None:
        asked = read_note(line)
        commands = cast(Any, self)
        handle = commands.handle(asked.name)
        where = "study" if asked.trial is None else f"trial {asked.trial} of study"
        if asked.remove is not None:
            note = handle.remove_note(asked.remove)
            commands.say(f"Removed from study {handle.name!r}: {_in_words(note)}.")
        elif not (asked.text or asked.tag or asked.star or asked.unstar):
            display({"text/plain": _notes_text(handle.name, handle.notes(), asked.trial)}, raw=True)
            return
        else:
            done = []
            if asked.unstar:
                done.append("unstarred" if handle.unstar(asked.trial) else "had no star")
            if asked.text or asked.tag or asked.star:
                handle.note(asked.text, trial=asked.trial, tag=asked.tag, star=asked.star)
                done.append("noted")
            commands.say(f"{where[:1].upper()}{where[1:]} {handle.name!r}: {', '.join(done)}.")
        from autoglm_nb.notebook import cards

        cards.redraw(handle)

    def _share(self, given: list[str]) -> None:
        commands = cast(Any, self)
        asked = commands._parse(
            "share", given, ("name", {"nargs": "?"}), ("--html", {}), ("--zip", {}),
            ("--include-data", {"action": "store_true"}), ("--force", {"action": "store_true"}),
        )  # fmt: skip
        handle = commands.handle(asked.name)
        if asked.html is None and asked.zip is None:
            example = f"{words.quoted(handle.name)} --zip {_as_file(handle.name)}.zip"
            raise UsageError(
                "Sharing needs a file: `--zip FILE` for a teammate who opens the study, `--html FILE` for one who "
                f"reads it. For example `%autotune share {example}`."
            )
        if asked.include_data and asked.zip is None:
            raise UsageError("Data rows go into a zip only, but `--include-data` was given without `--zip`. Add it.")
        command = ["share", "--study", handle.name]
        for kind in ("html", "zip"):
            if getattr(asked, kind) is not None:
                command += [f"--{kind}", str(Path(getattr(asked, kind)).expanduser().resolve())]
        command += ["--include-data"] if asked.include_data else []
        command += ["--force"] if asked.force else []
        rows = "with" if asked.include_data else "without"
        with _waiting(f"Sharing {handle.name} …") as answer:
            done = _in_child(handle.home, command, "shared")
            answer.append(f"{done['sentence']} It leaves {rows} the rows of the data.")

    def _open(self, given: list[str]) -> None:
        from autoglm_nb.notebook.commands import identifier

        commands = cast(Any, self)
        asked = commands._parse("open", given, ("file", {}), ("--name", {}), ("-o", {}))
        output = identifier(asked.o)
        path = Path(asked.file).expanduser()
        if not path.exists():
            near = did_you_mean(path.name, _neighbours(path))
            raise SharedFileError(
                f"There is no file {words.clean(asked.file, 120)!r}. "
                + (near if near.startswith("Did you mean") else "Check the path.")
            )
        command = ["open", str(path.resolve()), *(["--name", asked.name] if asked.name else [])]
        with _waiting(f"Opening {path.name} …") as answer:
            done = _in_child(settings.home(), command, "opened")
            answer.append(done["sentence"])
        commands.show(commands.handle(done["name"]), output=output, view="record")


@contextmanager
def _waiting(sentence: str) -> Iterator[list[str]]:
    """Shows a line while something takes its time, and in its place what is appended to the list, or nothing."""
    shown = display({"text/plain": words.clean(sentence, 200)}, raw=True, display_id=True)
    answer: list[str] = []
    try:
        yield answer
    finally:
        shown.update({"text/plain": words.clean(" ".join(answer), 2000)}, raw=True)


def _in_child(home: Path, command: list[str], done: str) -> Mapping[str, Any]:
    """Run `python -m autoglm_nb.sharing` to its end; Ctrl-C ends it too.

    Raises:
        UsageError: what it said it could not do.
    """
    with tempfile.TemporaryDirectory(prefix="autoglm-share-") as folder:
        out = Path(folder) / "done.json"
        whole = [sys.executable, "-m", "autoglm_nb.sharing", "--home", str(home), "--out", str(out), *command]
        ended = subprocess.run(
            whole, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
            errors="replace", env=settings.child_environment(MPLBACKEND="agg"),
        )  # fmt: skip
        if ended.returncode == 0:
            found: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
            return found
    last = words.clean((ended.stderr.strip().splitlines() or [""])[-1], 1000)
    if ended.returncode == 2 and last:
        raise UsageError(last)
    raise UsageError(f"The study could not be {done} (exit code {ended.returncode}). {last}".rstrip())


def _notes_text(name: str, notes: list[Any], trial: int | None) -> str:
    """The notes as lines: id, where, what, who."""
    shown = [note for note in notes if trial is None or note["trial"] == trial]
    where = f"study {name!r}" if trial is None else f"trial {trial} of study {name!r}"
    if not shown:
        return f"No notes on {where} yet. {TEAM_COMMANDS['note']} adds one."
    lines = [f"{len(shown)} {'note' if len(shown) == 1 else 'notes'} on {where}; `--remove ID` takes one away."]
    for note in shown:
        place = "study" if note["trial"] is None else f"trial {note['trial']}"
        author = words.clean(note["author"], 60)
        lines.append(f"  {note['id'][:8]}  {place}: {_in_words(note)}{f'  ({author})' if author else ''}")
    return "\n".join(lines)


def _in_words(note: Mapping[str, Any]) -> str:
    kind, text = note["kind"], words.clean(note["text"], 300)
    return f"★ {text}".rstrip() if kind == "star" else f"# {text}" if kind == "tag" else text


def _word(line: str) -> tuple[str, str]:
    """The first word of a line, quotation marks taken off, and what follows."""
    found = _WORD.match(line)
    if found is None:
        return "", ""
    return next(part for part in found.groups() if part is not None), line[found.end() :]


def _whole(value: str) -> int:
    try:
        return int(value.lstrip("#"))
    except ValueError:
        raise UsageError(f"`--trial` needs a trial's number, but got {value[:40]!r}.") from None


def _neighbours(path: Path) -> list[str]:
    return [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []


def _as_file(name: str) -> str:
    return re.sub(r"[^\w.+-]+", "-", name)
