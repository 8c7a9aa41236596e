"""Instructions as numbers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

WORD = re.compile(r"[^\W_]+")
"""A word: letters and digits of any language."""

PADDING, UNKNOWN, FIRST = 0, 1, 2
"""Numbers of no word, of a word that is not in the vocabulary, and of the first word of the vocabulary."""


def words_of(text: str) -> list[str]:
    """Return the words of an instruction in lower case, without punctuation."""
    return WORD.findall(text.casefold())


def vocabulary_of(instructions: Iterable[str]) -> list[str]:
    """Return the different words of instructions, in alphabetical order."""
    return sorted({word for text in instructions for word in words_of(text)})


class TextEncoder(nn.Module):
    """A vector for each instruction: an embedding of its words, one transformer layer, and attention over the words.

    The attention has a learned query: the words that matter, such as the name of an object, keep their weight in
    instructions of any length and wording.
    """

    def __init__(self, vocabulary: Sequence[str], dim: int, max_words: int, word_dropout: float) -> None:
        """Initialize with the words that have an embedding of their own."""
        super().__init__()
        self._numbers = {word: number for number, word in enumerate(vocabulary, FIRST)}
        self._max_words, self._word_dropout = max_words, word_dropout
        self.words = nn.Embedding(FIRST + len(vocabulary), dim, padding_idx=PADDING)
        nn.init.zeros_(self.words.weight[UNKNOWN].data)
        self.positions = nn.Parameter(torch.randn(max_words, dim) * 0.02)
        layer = nn.TransformerEncoderLayer(dim, 4, 2 * dim, dropout=0.0, batch_first=True, norm_first=True)
        self.query = nn.Parameter(torch.randn(dim) * 0.02)
        self.layers = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)

    def forward(self, texts: Sequence[str]) -> Tensor:
        """Return the vectors of instructions, (texts, dim)."""
        numbers = self._tokenize(texts).to(self.positions.device)
        if self.training and self._word_dropout > 0:
            dropped = (torch.rand(numbers.shape, device=numbers.device) < self._word_dropout) & (numbers != PADDING)
            numbers = numbers.masked_fill(dropped, UNKNOWN)
        empty = numbers == PADDING
        found = self.layers(self.words(numbers) + self.positions[: numbers.shape[1]], src_key_padding_mask=empty)
        weights = (found @ self.query).masked_fill(empty, -torch.inf).softmax(1)
        return (found * weights[..., None]).sum(1)

    def _tokenize(self, texts: Sequence[str]) -> Tensor:
        """Return the numbers of the words, (texts, words); an empty instruction is one unknown word."""
        rows = [[self._numbers.get(word, UNKNOWN) for word in words_of(text)[: self._max_words]] for text in texts]
        rows = [row or [UNKNOWN] for row in rows]
        length = max(len(row) for row in rows)
        return torch.tensor([row + [PADDING] * (length - len(row)) for row in rows])
