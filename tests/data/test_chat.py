"""Which words of a conversation are learned."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from autoglm_nb.data.chat import PLAIN_CHAT_TEMPLATE, ensure_chat_template, render_chat
from autoglm_nb.errors import DataError
from tests import tiny

TALK = [
    {"role": "system", "content": "be brief"},
    {"role": "user", "content": "what colour is grass ?"},
    {"role": "assistant", "content": "green"},
    {"role": "user", "content": "who writes books ?"},
    {"role": "assistant", "content": "a writer"},
]


@pytest.fixture
def tokenizer(tiny_decoder_path: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(tiny_decoder_path)


def _learned(tokenizer: Any, talk: list[dict[str, str]]) -> list[str]:
    chat = render_chat(tokenizer, talk)
    return [chat.text[start:end] for start, end in chat.spans]


def test_answers_and_their_end_marks_are_learned(tokenizer: Any) -> None:
    """Headers, questions and the system prompt are not."""
    assert _learned(tokenizer, TALK) == ["green<|im_end|>", "a writer<|im_end|>"]


def test_plain_template_for_a_tokenizer_without_one(tokenizer: Any) -> None:
    """It ends each answer with the end token and stays with the tokenizer."""
    tokenizer.chat_template = None
    ensure_chat_template(tokenizer)
    assert tokenizer.chat_template == PLAIN_CHAT_TEMPLATE
    assert render_chat(tokenizer, TALK).text == (
        "System: be brief\nUser: what colour is grass ?\nAssistant: green<|im_end|>\n"
        "User: who writes books ?\nAssistant: a writer<|im_end|>"
    )
    assert _learned(tokenizer, TALK) == ["green<|im_end|>", "a writer<|im_end|>"]


def test_template_of_the_tokenizer_is_kept(tokenizer: Any) -> None:
    """The plain one never replaces another."""
    ensure_chat_template(tokenizer)
    assert tokenizer.chat_template == tiny.CHATML


def test_conversation_that_begins_with_an_answer(tokenizer: Any) -> None:
    """Then its header is learned too, having nothing before it."""
    assert _learned(tokenizer, TALK[2:3])[-1].endswith("green<|im_end|>")


def test_template_that_rewrites_earlier_turns(tokenizer: Any) -> None:
    """Templates of reasoning models drop earlier answers; the last one is learned all the same."""
    tokenizer.chat_template = (
        "{% for m in messages %}{% if m['role'] == 'user' %}Q: {{ m['content'] }}\n"
        "{% elif m['role'] == 'assistant' and loop.last %}A: {{ m['content'] }}|{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}A: {% endif %}"
    )
    assert _learned(tokenizer, TALK)[-1] == "a writer|"


def test_template_that_refuses_gets_a_sentence(tokenizer: Any) -> None:
    """The template's own words are quoted."""
    tokenizer.chat_template = "{{ raise_exception('roles must alternate') }}"
    with pytest.raises(DataError, match=r"refuses the roles .*user.* \(roles must alternate\)"):
        render_chat(tokenizer, TALK)


def test_template_without_answers_gets_a_sentence(tokenizer: Any) -> None:
    """Nothing would be learned from such a text."""
    tokenizer.chat_template = "nothing"
    with pytest.raises(DataError, match="must show the assistant's answers"):
        render_chat(tokenizer, TALK)
