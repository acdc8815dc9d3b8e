"""A trained model in memory and on disk: one array file that cannot carry code, and a manifest that says what it is."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources.abc import Traversable
from io import BytesIO
from pathlib import Path
from typing import Literal
from zipfile import BadZipFile

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gatebook_servers.classifier.features import FEATURES, SPEC_VERSION, Floats, weigh
from gatebook_servers.classifier.lexicon import lexicon_scores
from gatebook_servers.classifier.models import CATEGORIES, Category, Share
from gatebook_servers.classifier.regression import LinearModel, log_softmax
from gatebook_servers.classifier.text import TicketText

ARRAYS_FILE = "model.npz"
MANIFEST_FILE = "manifest.json"


class ModelFileError(Exception):
    """The files of a model are missing, damaged, altered or made for another version of the features."""


class Metrics(BaseModel):
    """How the model did on tickets of domains it had not seen."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    accuracy: Share
    macro_f1: Share
    expected_calibration_error: Share


class Manifest(BaseModel):
    """What a model is made of and how its scores are to be read.

    Attributes:
        format: Version of this file.
        feature_spec: Version of the features, see `features.SPEC_VERSION`.
        categories: The classes in the order of the arrays' columns.
        corpus_sha256: Digest of the written rows.
        grammar_sha256: Digest of the patterns.
        label_count: How many rows the model was trained on, those made from patterns included.
        lexicon_weight: How much the lexicon's log-probabilities count beside the model's.
        temperature: What fused log-probabilities are divided by.
        thresholds: The confidence below which a prediction of the category needs a person.
        fewest_known_words: How many different words of the corpus a ticket must have to be decided automatically.
        metrics: Measured out of fold while training.
        arrays_sha256: Digest of the array file.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    feature_spec: int
    categories: tuple[Category, ...]
    corpus_sha256: str
    grammar_sha256: str
    label_count: int
    lexicon_weight: float = Field(ge=0)
    temperature: float = Field(gt=0)
    thresholds: dict[Category, Share]
    fewest_known_words: int = Field(ge=0)
    metrics: Metrics
    arrays_sha256: str


@dataclass(frozen=True, slots=True)
class Parameters:
    """What was learned: a linear model, how rare every feature is, and which words were seen (`features.word_key`)."""

    linear: LinearModel
    rarity: Floats
    known_words: frozenset[int]

    def fused_scores(
        self, tickets: Sequence[TicketText], counts: Sequence[Counter[int]], *, lexicon_weight: float
    ) -> Floats:
        """Return log-probabilities of model and lexicon pooled (a logarithmic opinion pool), not yet normalised."""
        learned = log_softmax(self.linear.scores(weigh(counts, rarity=self.rarity)))
        prior = np.array([lexicon_scores(ticket) for ticket in tickets]).reshape(-1, len(CATEGORIES))
        return learned + lexicon_weight * log_softmax(prior)


def digest(content: bytes) -> str:
    """Return the SHA-256 of a file's content in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def pack(parameters: Parameters) -> bytes:
    """Return the array file for `parameters`, in half precision; equal parameters give equal bytes."""
    buffer = BytesIO()
    np.savez_compressed(
        buffer,
        allow_pickle=False,
        weights=parameters.linear.weights.astype(np.float16),
        bias=parameters.linear.bias.astype(np.float32),
        rarity=parameters.rarity.astype(np.float16),
        known_words=np.array(sorted(parameters.known_words), dtype=np.uint32),
    )
    return buffer.getvalue()


def write_model(folder: Path, *, arrays: bytes, manifest: Manifest) -> None:
    """Write both files of a model, the manifest last: without it the arrays are not loaded."""
    folder.joinpath(ARRAYS_FILE).write_bytes(arrays)
    folder.joinpath(MANIFEST_FILE).write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")


def read_model(folder: Traversable) -> tuple[Parameters, Manifest]:
    """Read a model and check that its arrays are those its manifest speaks of.

    Raises:
        ModelFileError: A file is missing, is not what it should be, or does not fit the other or this program.
    """
    try:
        manifest = Manifest.model_validate_json(folder.joinpath(MANIFEST_FILE).read_bytes())
        arrays = folder.joinpath(ARRAYS_FILE).read_bytes()
    except (OSError, ValidationError) as error:
        raise ModelFileError(f"The classifier's model cannot be read: {error}") from error
    if digest(arrays) != manifest.arrays_sha256:
        raise ModelFileError(f"{ARRAYS_FILE} is not the file that {MANIFEST_FILE} describes.")
    if manifest.feature_spec != SPEC_VERSION or manifest.categories != CATEGORIES:
        raise ModelFileError("The model was made for other features or categories; train it again.")
    return _unpack(arrays), manifest


def _unpack(content: bytes) -> Parameters:
    try:
        with np.load(BytesIO(content), allow_pickle=False) as arrays:
            parameters = Parameters(
                linear=LinearModel(
                    weights=arrays["weights"].astype(np.float64), bias=arrays["bias"].astype(np.float64)
                ),
                rarity=arrays["rarity"].astype(np.float64),
                known_words=frozenset(arrays["known_words"].tolist()),
            )
    except (BadZipFile, KeyError, ValueError) as error:
        raise ModelFileError(f"{ARRAYS_FILE} does not hold the arrays of a model: {error}") from error
    if parameters.linear.weights.shape != (FEATURES, len(CATEGORIES)) or parameters.rarity.shape != (FEATURES,):
        raise ModelFileError(f"The arrays of {ARRAYS_FILE} have the wrong shape.")
    return parameters
