"""The ticket classifier: hashed words, a linear model and a lexicon prior, calibrated, and free to abstain."""

from collections.abc import Sequence
from importlib.resources import files
from importlib.resources.abc import Traversable

import numpy as np

from gatebook_servers.classifier.artifact import Manifest, Parameters, read_model
from gatebook_servers.classifier.features import Floats, count_features, word_key
from gatebook_servers.classifier.language import is_covered
from gatebook_servers.classifier.models import CATEGORIES, Prediction
from gatebook_servers.classifier.regression import log_softmax
from gatebook_servers.classifier.text import TicketText, read_ticket


def starter_folder() -> Traversable:
    """Return the folder of the corpus and the model that ship with the package."""
    return files("gatebook_servers.classifier").joinpath("starter")


class TicketClassifier:
    """Says which category a ticket belongs to, and when it is not sure enough to be left alone with it.

    Holds no state but the model and may be used from several threads.
    """

    def __init__(self, parameters: Parameters, manifest: Manifest) -> None:
        self._parameters = parameters
        self._manifest = manifest
        self.version = f"starter-{manifest.arrays_sha256[:12]}"

    @classmethod
    def load_shipped(cls) -> "TicketClassifier":
        """Load the model that ships with the package.

        Raises:
            ModelFileError: The installed files are damaged.
        """
        return cls.load(starter_folder())

    @classmethod
    def load(cls, folder: Traversable) -> "TicketClassifier":
        """Load the model in `folder`.

        Raises:
            ModelFileError: There is none, it was altered, or it does not fit this program.
        """
        return cls(*read_model(folder))

    def predict(self, *, subject: str, body: str) -> Prediction:
        """Classify one ticket. Of each of the two texts the first 20,000 characters are read."""
        return self.predict_many([(subject, body)])[0]

    def predict_many(self, items: Sequence[tuple[str, str]]) -> list[Prediction]:
        """Classify tickets given as (subject, body), each as if it were alone."""
        tickets = [read_ticket(subject=subject, body=body) for subject, body in items]
        scores = self._parameters.fused_scores(
            tickets, [count_features(ticket) for ticket in tickets], lexicon_weight=self._manifest.lexicon_weight
        )
        probabilities = np.exp(log_softmax(scores / self._manifest.temperature))
        return [self._judge(ticket, row) for ticket, row in zip(tickets, probabilities, strict=True)]

    def _judge(self, ticket: TicketText, probabilities: Floats) -> Prediction:
        best = int(probabilities.argmax())
        category = CATEGORIES[best]
        # Rounded first, so that what is compared is what is shown.
        shares = [min(1.0, round(float(share), 6)) for share in probabilities]
        reasons: list[str] = []
        if shares[best] < self._manifest.thresholds[category]:
            reasons.append("low_confidence")
        known = {word for word in ticket.words if word_key(word) in self._parameters.known_words}
        if len(known) < self._manifest.fewest_known_words:
            reasons.append("few_known_words")
        if not is_covered(ticket):
            reasons.append("language")
        return Prediction(
            category=category,
            confidence=shares[best],
            probabilities=dict(zip(CATEGORIES, shares, strict=True)),
            decision="review" if reasons else "auto",
            reasons=tuple(reasons),
            model_version=self.version,
        )
