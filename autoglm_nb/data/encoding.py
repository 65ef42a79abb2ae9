"""From examples to token ids and labels, cached so that a second trial loads them in milliseconds.

Classification: the tokenizer's own special tokens, the class id as label.
Language modelling: labels per token in the convention of transformers (aligned
with the inputs, the model shifts them), -100 where nothing is to be learned:
prompts, and all but the assistant's words of a conversation. The end token
follows every text that was not cut, and is learned even where it is the pad
token too, since padding is told by attention and labels, never by the pad id.

Too long for `max_length`: texts are cut at the end, prompts at their beginning
so that the completion stays, conversations at the end unless no answer would be
left, then at the beginning.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoglm_nb.data.chat import ensure_chat_template, render_chat
from autoglm_nb.data.dataset import SPLITS, Dataset, Split
from autoglm_nb.data.files import whole_file
from autoglm_nb.data.rows import Example

__all__ = ["IGNORED", "EncodedData", "EncodedSplit", "default_max_length", "encode"]

IGNORED = -100
"""Label of a token that no loss is taken on."""

DEFAULT_MAX_LENGTH = {"classification": 128, "causal-lm": 256}

_VERSION = 1
_UNLIMITED = 1_000_000  # tokenizers without a limit of their own give a huge number

Tokens = tuple[list[int], list[int]]  # ids and labels of one row


@dataclass(frozen=True)
class EncodedSplit:
    """Token ids of one split, all rows in one array.

    Attributes:
        input_ids: int32 of shape (tokens,).
        offsets: int64 of shape (rows + 1,); row i is `input_ids[offsets[i]:offsets[i + 1]]`.
        labels: class ids, int64 of shape (rows,); or per token, int32 of shape (tokens,), -100 where ignored.
    """

    input_ids: NDArray[np.int32]
    offsets: NDArray[np.int64]
    labels: NDArray[Any]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens of each row, shape (rows,)."""
        return np.diff(self.offsets)

    @property
    def per_token(self) -> bool:
        """Whether labels are per token (language modelling)."""
        return self.labels.dtype == np.int32

    def row(self, i: int) -> NDArray[np.int32]:
        """Token ids of row i."""
        return self.input_ids[self.offsets[i] : self.offsets[i + 1]]

    def row_labels(self, i: int) -> Any:
        """Class id of row i, or its labels per token."""
        return self.labels[self.offsets[i] : self.offsets[i + 1]] if self.per_token else int(self.labels[i])


@dataclass(frozen=True)
class EncodedData:
    """A tokenised `Dataset`.

    Attributes:
        task, label_names: as in the data set.
        train, validation, test: the splits.
        pad_id: what to fill up with; may equal the end token.
        max_length: no row is longer.
        at_limit: rows per split that are as long as `max_length`, so likely cut.
        key: SHA-256 of data, splits, tokenizer and `max_length`.
    """

    task: str
    train: EncodedSplit
    validation: EncodedSplit
    test: EncodedSplit
    label_names: tuple[str, ...]
    pad_id: int
    max_length: int
    at_limit: dict[str, int]
    key: str

    @property
    def splits(self) -> dict[str, EncodedSplit]:
        return {"train": self.train, "validation": self.validation, "test": self.test}


def default_max_length(task: str, tokenizer: Any, *, model_limit: int | None = None) -> int:
    """128 tokens for classification and 256 for language modelling, less where the model takes less."""
    return min([DEFAULT_MAX_LENGTH.get(task, 256), *_limits(tokenizer, model_limit)])


def encode(
    dataset: Dataset,
    tokenizer: Any,
    *,
    max_length: int | None = None,
    cache: Path | None = None,
    model_limit: int | None = None,
) -> EncodedData:
    """Tokenise all splits, or load them if the same was done before.

    Args:
        dataset: as `prepare` made it.
        tokenizer: of the base model. For conversations it is given the plain chat template if it has none.
        max_length: longest row in tokens; the task's default if None, never above the model's own.
        cache: folder of tokenised data, shared by trials and workers; None to keep nothing.
        model_limit: positions the model has, where the tokenizer does not say so.

    Raises:
        DataError: the chat template refuses a conversation.
    """
    length = default_max_length(dataset.task, tokenizer, model_limit=model_limit)
    if max_length is not None:
        length = min([max_length, *_limits(tokenizer, model_limit)])
    if dataset.columns.kind == "chat":
        ensure_chat_template(tokenizer)
    key = _key(dataset, tokenizer, length)
    path = None if cache is None else cache / f"{key}.npz"
    splits = _load(path) if path is not None else None
    if splits is None:
        splits = {name: _encode_split(split, dataset, tokenizer, length) for name, split in dataset.splits.items()}
        if path is not None:
            _save(path, splits)
    return EncodedData(
        dataset.task,
        **splits,
        label_names=dataset.label_names,
        pad_id=_pad_id(tokenizer),
        max_length=length,
        at_limit={name: int((split.lengths >= length).sum()) for name, split in splits.items()},
        key=key,
    )


def _limits(tokenizer: Any, model_limit: int | None) -> list[int]:
    own = getattr(tokenizer, "model_max_length", None)
    return [int(limit) for limit in (own, model_limit) if limit is not None and 0 < limit < _UNLIMITED]


def _pad_id(tokenizer: Any) -> int:
    candidates = (tokenizer.pad_token_id, tokenizer.eos_token_id, 0)
    return next(int(i) for i in candidates if i is not None)


def _encode_split(split: Split, dataset: Dataset, tokenizer: Any, length: int) -> EncodedSplit:
    if dataset.task == "classification":
        ids = tokenizer([e.text for e in split.examples], truncation=True, max_length=length)["input_ids"]
        rows = [row or [_pad_id(tokenizer)] for row in ids]
        return EncodedSplit(*_flat(rows, np.int32), labels=np.asarray(split.labels, dtype=np.int64))
    encoder = {"chat": _encode_chats, "pairs": _encode_pairs}.get(dataset.columns.kind, _encode_texts)
    tokens = encoder(split.examples, tokenizer, length)
    return EncodedSplit(
        *_flat([ids for ids, _ in tokens], np.int32), labels=_flat([labels for _, labels in tokens], np.int32)[0]
    )


def _encode_texts(examples: Sequence[Example], tokenizer: Any, length: int) -> list[Tokens]:
    start, end = _start(tokenizer), _end(tokenizer)
    rows: list[Tokens] = []
    for body in _tokenise([example.text for example in examples], tokenizer, length + 1):
        ids = start + body
        ids = ids + end if len(ids) + len(end) <= length else ids[:length]
        rows.append((ids, list(ids)))
    return rows


def _encode_pairs(examples: Sequence[Example], tokenizer: Any, length: int) -> list[Tokens]:
    start, end = _start(tokenizer), _end(tokenizer)
    prompts = _tokenise([example.text for example in examples], tokenizer, None)
    completions = _tokenise([example.completion or "" for example in examples], tokenizer, length + 1)
    rows: list[Tokens] = []
    for prompt, completion in zip(prompts, completions, strict=True):
        room = length - 1  # one token of the prompt stays, to predict the first of the completion from
        learned = completion + end if len(completion) + len(end) <= room else completion[:room]
        kept = (start + prompt)[-(length - len(learned)) :] or _end(tokenizer) or [_pad_id(tokenizer)]
        rows.append((kept + learned, [IGNORED] * len(kept) + learned))
    return rows


def _encode_chats(examples: Sequence[Example], tokenizer: Any, length: int) -> list[Tokens]:
    chats = [render_chat(tokenizer, example.messages) for example in examples]
    end = _end(tokenizer)
    rows: list[Tokens] = []
    for chat in chats:
        ids, labels = _learn_spans(chat.text, chat.spans, tokenizer)
        if end and ids[-1:] != end:
            ids, labels = ids + end, labels + (end if labels[-1] != IGNORED else [IGNORED])
        cut = slice(0, length)
        if all(label == IGNORED for label in labels[1:length]):
            cut = slice(max(0, len(ids) - length), None)
        rows.append((ids[cut], labels[cut]))
    return rows


def _learn_spans(text: str, spans: Sequence[tuple[int, int]], tokenizer: Any) -> Tokens:
    """Ids of the text, with labels for the tokens that lie in a span, if only in part."""
    if tokenizer.is_fast:
        encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        ids = list(encoded["input_ids"])
        inside = [any(a < end and b > start for start, end in spans) for a, b in encoded["offset_mapping"]]
        return ids, [i if learn else IGNORED for i, learn in zip(ids, inside, strict=True)]
    ids, labels, position = list[int](), list[int](), 0
    for start, end in [*spans, (len(text), len(text))]:  # no offsets: piece by piece
        for piece, learn in ((text[position:start], False), (text[start:end], True)):
            piece_ids = list(tokenizer(piece, add_special_tokens=False)["input_ids"]) if piece else []
            ids += piece_ids
            labels += piece_ids if learn else [IGNORED] * len(piece_ids)
        position = end
    return ids, labels


def _tokenise(texts: Sequence[str], tokenizer: Any, limit: int | None) -> list[list[int]]:
    if not texts:
        return []
    options = {} if limit is None else {"truncation": True, "max_length": limit}
    return [list(ids) for ids in tokenizer(list(texts), add_special_tokens=False, **options)["input_ids"]]


def _start(tokenizer: Any) -> list[int]:
    """The token that this tokenizer puts before a text, if it does."""
    first = list(tokenizer("a")["input_ids"])[:1]
    return first if first and first == [tokenizer.bos_token_id] else []


def _end(tokenizer: Any) -> list[int]:
    return [] if tokenizer.eos_token_id is None else [int(tokenizer.eos_token_id)]


def _flat(rows: Sequence[Sequence[int]], dtype: Any) -> tuple[NDArray[Any], NDArray[np.int64]]:
    offsets = np.zeros(len(rows) + 1, dtype=np.int64)
    np.cumsum([len(row) for row in rows], out=offsets[1:])
    return np.fromiter((i for row in rows for i in row), dtype=dtype, count=int(offsets[-1])), offsets


def _key(dataset: Dataset, tokenizer: Any, length: int) -> str:
    parts = [_VERSION, dataset.checksum, dataset.task, dataset.columns.kind, length, _tokenizer_state(tokenizer)]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _tokenizer_state(tokenizer: Any) -> str:
    """What decides the ids: vocabulary, rules, special tokens, chat template; not past calls' truncation."""
    if tokenizer.is_fast:
        rules = json.loads(tokenizer.backend_tokenizer.to_str())
        rules.pop("truncation", None)
        rules.pop("padding", None)
    else:
        rules = [type(tokenizer).__name__, sorted(tokenizer.get_vocab().items())]
    special = {name: str(token) for name, token in tokenizer.special_tokens_map.items()}
    state = [rules, special, str(getattr(tokenizer, "chat_template", None)), tokenizer.truncation_side]
    return hashlib.sha256(json.dumps(state, sort_keys=True).encode()).hexdigest()


def _load(path: Path) -> dict[str, EncodedSplit] | None:
    """None if not there or damaged; then it is made anew."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            splits = {
                name: EncodedSplit(stored[f"{name}.ids"], stored[f"{name}.offsets"], stored[f"{name}.labels"])
                for name in SPLITS
            }
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
    return splits


def _save(path: Path, splits: dict[str, EncodedSplit]) -> None:
    """Keep the tokens for the next time; a cache that cannot be written is no reason to stop."""
    arrays: dict[str, Any] = {}
    for name, split in splits.items():
        arrays |= {f"{name}.ids": split.input_ids, f"{name}.offsets": split.offsets, f"{name}.labels": split.labels}
    with contextlib.suppress(OSError), whole_file(path) as scratch, scratch.open("wb") as file:
        np.savez(file, **arrays)
