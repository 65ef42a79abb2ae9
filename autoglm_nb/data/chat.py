"""Conversations as text, with the places that are the assistant's own words.

The tokenizer's chat template decides how turns are written. Which characters
the assistant wrote follows from rendering the conversation up to each answer,
with and without it. A tokenizer without a template gets `PLAIN_CHAT_TEMPLATE`
("User: ...", "Assistant: ..." and the end token after each answer), which is
then saved beside the adapter with the rest of the tokenizer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from autoglm_nb.errors import DataError

__all__ = ["PLAIN_CHAT_TEMPLATE", "RenderedChat", "ensure_chat_template", "render_chat"]

PLAIN_CHAT_TEMPLATE = (
    "{% for message in messages %}{{ message['role'] | capitalize }}: {{ message['content'] }}"
    "{% if message['role'] == 'assistant' %}{{ eos_token or '' }}{% endif %}{{ '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}Assistant: {% endif %}"
)


@dataclass(frozen=True)
class RenderedChat:
    """A conversation as one string; `spans` are the [start, end) characters to learn."""

    text: str
    spans: tuple[tuple[int, int], ...]


def ensure_chat_template(tokenizer: Any) -> None:
    """Give the tokenizer the plain template if it has none of its own."""
    if not getattr(tokenizer, "chat_template", None):
        tokenizer.chat_template = PLAIN_CHAT_TEMPLATE


def render_chat(tokenizer: Any, messages: Sequence[dict[str, str]]) -> RenderedChat:
    """Write a conversation out and find the assistant's words.

    Each span begins after the header that generation would be prompted with and
    includes the mark that ends the turn, so that ending is learned.

    Raises:
        DataError: the template refuses the conversation.
    """
    # White space after the last answer's end mark would only teach to go on.
    text = _render(tokenizer, messages, prompt=False).rstrip()
    spans = []
    for i, message in enumerate(messages):
        if message["role"] != "assistant":
            continue
        start = _common(text, _render(tokenizer, messages[:i], prompt=True) if i else "")
        rendered = _render(tokenizer, messages[: i + 1], prompt=False)
        # A template may write earlier turns differently once later ones follow: learn what stays the same.
        end = _common(text, rendered.rstrip())
        if end > start:
            spans.append((start, end))
    if not spans:
        raise DataError(
            "The chat template must show the assistant's answers, but leaves them out of a conversation. "
            "Use prompt and completion columns instead."
        )
    return RenderedChat(text, tuple(spans))


def _render(tokenizer: Any, messages: Sequence[dict[str, str]], *, prompt: bool) -> str:
    try:
        return str(tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=prompt))
    except Exception as error:  # a template may raise anything
        roles = ", ".join(message["role"] for message in messages)
        raise DataError(
            f"The model's chat template must accept the conversations, but refuses the roles {roles} "
            f"({str(error).splitlines()[0][:150] if str(error) else type(error).__name__}). Reorder or drop them."
        ) from error


def _common(text: str, other: str) -> int:
    """Length of the longest common beginning."""
    if text.startswith(other):
        return len(other)
    return next((i for i, (a, b) in enumerate(zip(text, other)) if a != b), min(len(text), len(other)))
