"""A ticket's words as hashed, weighted features: three blocks of one long vector.

The blocks are words and pairs of words, character 3- to 5-grams within words, and the subject's words and pairs. CRC-32
picks the bucket because it is the same on every machine and version of Python.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from gatebook_servers.classifier.text import TicketText

SPEC_VERSION = 1
"""Raised whenever a text would give other features, here or in `text`; a model of another version is not loaded."""

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Block:
    """A stretch of the feature vector, normalised to the length `weight` by itself."""

    start: int
    size: int
    weight: float

    @property
    def stop(self) -> int:
        return self.start + self.size


WORDS = Block(start=0, size=1 << 15, weight=1.0)
CHARACTERS = Block(start=WORDS.stop, size=1 << 16, weight=0.7)
TITLE = Block(start=CHARACTERS.stop, size=1 << 14, weight=0.7)
FEATURES = TITLE.stop


@dataclass(frozen=True, slots=True)
class SparseRows:
    """Rows of a sparse matrix with `FEATURES` columns; row i is the slice offsets[i]:offsets[i + 1] of the others."""

    offsets: Integers
    columns: Integers
    values: Floats

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def times(self, weights: Floats) -> Floats:
        """Multiply with a dense matrix of one column per class."""
        products = weights[self.columns] * self.values[:, None]
        # A running sum, unlike reduceat, is right for empty rows too.
        running = np.vstack([np.zeros((1, weights.shape[1])), np.cumsum(products, axis=0)])
        return running[self.offsets[1:]] - running[self.offsets[:-1]]


def word_key(word: str) -> int:
    """Return the number a word is remembered by; wide enough that two words hardly ever share one."""
    return crc32(word.encode())


def count_features(text: TicketText) -> Counter[int]:
    """Count the features of a ticket by their bucket."""
    counts = Counter(_bucket(WORDS, term) for term in _terms(text.words))
    counts.update(_bucket(TITLE, term) for term in _terms(text.title))
    for word, times in Counter(text.words).items():
        for bucket in _character_buckets(word):
            counts[bucket] += times
    return counts


def weigh(counts: Iterable[Counter[int]], *, rarity: Floats) -> SparseRows:
    """Turn counts into rows: logarithm of the count times the feature's rarity, every block normalised.

    Args:
        counts: What `count_features` returned, one for each row.
        rarity: Inverse document frequency by bucket; 0 for what training never saw, which is left out.
    """
    rows = [_row(one, rarity) for one in counts]
    lengths = [len(columns) for columns, _ in rows]
    return SparseRows(
        offsets=np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths, dtype=np.int64)]),
        columns=np.concatenate([columns for columns, _ in rows]) if rows else np.zeros(0, np.int64),
        values=np.concatenate([values for _, values in rows]) if rows else np.zeros(0),
    )


def rarity_of(counts: Sequence[Counter[int]]) -> Floats:
    """Return the smoothed inverse document frequency by bucket, 0 where no row has the feature."""
    seen = np.zeros(FEATURES)
    for one in counts:
        seen[list(one)] += 1
    return np.where(seen > 0, np.log((1 + len(counts)) / (1 + seen)) + 1, 0)


def _row(counts: Counter[int], rarity: Floats) -> tuple[Integers, Floats]:
    # Sorted, so that sums do not depend on the order in which words appeared.
    columns = np.array(sorted(counts), dtype=np.int64)
    values = (1 + np.log([counts[column] for column in columns.tolist()])) * rarity[columns]
    columns, values = columns[values > 0], values[values > 0]
    for block in (WORDS, CHARACTERS, TITLE):
        first, last = np.searchsorted(columns, (block.start, block.stop))
        length = float(np.sqrt(np.sum(values[first:last] ** 2)))
        values[first:last] *= block.weight / (length or 1.0)
    return columns, values


def _terms(words: tuple[str, ...]) -> Iterable[str]:
    yield from words
    for left, right in pairwise(words):
        yield f"{left} {right}"


def _bucket(block: Block, term: str) -> int:
    return block.start + crc32(term.encode()) % block.size


@lru_cache(maxsize=20_000)
def _character_buckets(word: str) -> tuple[int, ...]:
    padded = f" {word} "
    return tuple(
        _bucket(CHARACTERS, padded[start : start + length])
        for length in (3, 4, 5)
        for start in range(len(padded) - length + 1)
    )
