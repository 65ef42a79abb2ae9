"""Tiny models and toy data for the tests: real formats, no download, made in a second.

The models are randomly initialised (two layers, 32 wide, two heads) but whole:
a folder with `config.json`, `model.safetensors` and a tokenizer trained in this
process on the words below, so that they load through the same code as a model
from a hub. In place of pre-training, words of praise and of blame lean in opposite
directions of the embedding, so that the toy reviews can be learned in a few epochs.
The decoder imitates SmolLM2 where it is peculiar: its pad token is its end token,
and it has a ChatML template. Everything follows from the seed.
"""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["tiny_decoder", "tiny_encoder", "toy_chat", "toy_corpus", "toy_pairs", "toy_reviews"]

MAX_POSITIONS = 128
HIDDEN = 32
LAYERS = 2
HEADS = 2

POSITIVE = [
    "good",
    "great",
    "excellent",
    "wonderful",
    "charming",
    "brilliant",
    "delightful",
    "superb",
    "moving",
    "funny",
]
NEGATIVE = ["bad", "awful", "terrible", "boring", "dull", "clumsy", "dreadful", "weak", "tedious", "ugly"]
SUBJECTS = [
    "film",
    "story",
    "cast",
    "plot",
    "script",
    "music",
    "ending",
    "book",
    "phone",
    "battery",
    "camera",
    "article",
]
FILLERS = [
    "the",
    "a",
    "this",
    "that",
    "was",
    "is",
    "felt",
    "looked",
    "seemed",
    "really",
    "quite",
    "very",
    "rather",
    "i",
    "we",
    "they",
    "thought",
    "found",
    "with",
    "and",
    "in",
    "for",
    "of",
    "my",
    "our",
    "whole",
    "first",
    "second",
    "last",
]
OPENERS = ["i thought the", "we found the", "this", "the whole", "my first", "that last", "our second"]
VERBS = ["was", "is", "felt", "looked", "seemed"]
ADVERBS = ["really", "quite", "very", "rather", ""]
QUESTIONS = {
    "what colour is the sky": "blue",
    "what colour is grass": "green",
    "how many legs has a dog": "four",
    "how many legs has a bird": "two",
    "what do cows drink": "water",
    "where do fish live": "in water",
    "who writes books": "a writer",
    "what is two and two": "four",
}
CHATML = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def toy_reviews(n: int = 120, seed: int = 0) -> pd.DataFrame:
    """`n` short, distinct, balanced reviews with columns text and label ("negative", "positive").

    The label is decided by words of `POSITIVE` and `NEGATIVE`, so that the tiny
    encoder can learn it in a few epochs.
    """
    import pandas as pd

    generator = random.Random(f"reviews-{seed}")
    texts: dict[str, str] = {}
    while len(texts) < n:
        label = "positive" if len(texts) % 2 else "negative"
        words = POSITIVE if label == "positive" else NEGATIVE
        clauses = [
            " ".join(
                filter(
                    None,
                    [
                        generator.choice(OPENERS),
                        generator.choice(SUBJECTS),
                        generator.choice(VERBS),
                        generator.choice(ADVERBS),
                        generator.choice(words),
                    ],
                )
            )
            for _ in range(generator.randint(1, 3))
        ]
        texts.setdefault(" and ".join(clauses), label)
    return pd.DataFrame({"text": list(texts), "label": list(texts.values())})


def toy_corpus(n: int = 80, seed: int = 0) -> list[str]:
    """`n` plain sentences for causal language modelling."""
    return [str(text) for text in toy_reviews(n, seed=seed + 1000)["text"]]


def toy_pairs(n: int = 40, seed: int = 0) -> list[dict[str, str]]:
    """`n` rows with `prompt` and `completion`, made of a few questions with fixed answers."""
    generator = random.Random(f"pairs-{seed}")
    rows = []
    for i in range(n):
        question, answer = generator.choice(sorted(QUESTIONS.items()))
        rows.append({"prompt": f"question {i} : {question} ? answer :", "completion": f" {answer}"})
    return rows


def toy_chat(n: int = 40, seed: int = 0) -> list[dict[str, Any]]:
    """`n` rows with `messages`: a user's question and the assistant's answer, some with two turns."""
    generator = random.Random(f"chat-{seed}")
    rows: list[dict[str, Any]] = []
    for i in range(n):
        messages: list[dict[str, str]] = []
        for _ in range(generator.randint(1, 2)):
            question, answer = generator.choice(sorted(QUESTIONS.items()))
            messages += [
                {"role": "user", "content": f"question {i} : {question} ?"},
                {"role": "assistant", "content": answer},
            ]
        rows.append({"messages": messages})
    return rows


def tiny_encoder(folder: Path, *, seed: int = 0) -> Path:
    """A BERT with a WordPiece tokenizer, saved as a model folder; returns the folder."""
    import torch
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
    from transformers import BertConfig, BertModel

    words = sorted({word for sentence in _sentences() for word in sentence.split()})
    letters = sorted({letter for word in words for letter in word})
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    # WordPieceTrainer breaks ties by hash order: a vocabulary of whole words and letters is the same every time.
    pieces = dict.fromkeys([*special, *letters, *(f"##{letter}" for letter in letters), *words])
    vocabulary = {piece: i for i, piece in enumerate(pieces)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(token, tokenizer.token_to_id(token)) for token in ("[CLS]", "[SEP]")],
    )
    config = BertConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=HIDDEN,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        intermediate_size=2 * HIDDEN,
        max_position_embeddings=MAX_POSITIONS,
        initializer_range=0.2,
        pad_token_id=tokenizer.token_to_id("[PAD]"),
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = BertModel(config)
        _lean(model, [tokenizer.token_to_id(w) for w in POSITIVE], [tokenizer.token_to_id(w) for w in NEGATIVE])
    model.save_pretrained(folder)
    tokenizer.save(str(Path(folder) / "tokenizer.json"))
    _write(
        folder,
        "tokenizer_config.json",
        {
            "tokenizer_class": "BertTokenizerFast",
            "do_lower_case": True,
            "model_max_length": MAX_POSITIONS,
            "pad_token": "[PAD]",
            "unk_token": "[UNK]",
            "cls_token": "[CLS]",
            "sep_token": "[SEP]",
            "mask_token": "[MASK]",
        },
    )
    return Path(folder)


def tiny_decoder(folder: Path, *, seed: int = 0, chat_template: bool = True) -> Path:
    """A Llama with a byte-level BPE tokenizer whose pad token is its end token; returns the folder."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM

    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(
        _sentences(),
        trainers.BpeTrainer(
            vocab_size=600,
            special_tokens=special,
            show_progress=False,
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        ),
    )
    config = LlamaConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=HIDDEN,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        num_key_value_heads=1,
        intermediate_size=2 * HIDDEN,
        max_position_embeddings=MAX_POSITIONS,
        initializer_range=0.1,
        tie_word_embeddings=True,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=2,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = LlamaForCausalLM(config)
        ids = [[tokenizer.encode(f" {word}").ids[-1] for word in words] for words in (POSITIVE, NEGATIVE)]
        _lean(model, *ids)
    model.save_pretrained(folder)
    tokenizer.save(str(Path(folder) / "tokenizer.json"))
    settings: dict[str, Any] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": MAX_POSITIONS,
        "bos_token": "<|im_start|>",
        "eos_token": "<|im_end|>",
        "pad_token": "<|im_end|>",
        "unk_token": "<|endoftext|>",
    }
    if chat_template:
        settings["chat_template"] = CHATML
    _write(folder, "tokenizer_config.json", settings)
    return Path(folder)


def _sentences() -> list[str]:
    words = " ".join(POSITIVE + NEGATIVE + SUBJECTS + FILLERS)
    asked = [f"question 0 1 2 3 4 5 6 7 8 9 : {q} ? answer : {a} user system assistant" for q, a in QUESTIONS.items()]
    return [words, *toy_corpus(200), *asked]


def _lean(model: Any, positive: list[int], negative: list[int]) -> None:
    """Move the embeddings of both groups of tokens apart along one direction."""
    import torch

    with torch.no_grad():
        weight = model.get_input_embeddings().weight
        direction = 2.0 * torch.nn.functional.normalize(torch.randn(weight.shape[1]), dim=0)
        weight[positive] += direction
        weight[negative] -= direction


def _write(folder: Path, name: str, content: dict[str, Any]) -> None:
    (Path(folder) / name).write_text(json.dumps(content, indent=2), encoding="utf-8")
