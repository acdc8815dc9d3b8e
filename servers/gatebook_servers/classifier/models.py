"""What the classifier says about a ticket. Imports no numpy, so that declaring tools stays quick."""

from collections.abc import Sequence
from typing import Annotated, Literal, Protocol, get_args

from pydantic import BaseModel, ConfigDict, Field

Category = Literal["Bug", "Feature", "Support", "Spam"]
Decision = Literal["auto", "review"]
Share = Annotated[float, Field(ge=0, le=1)]

CATEGORIES: tuple[Category, ...] = get_args(Category)


class Prediction(BaseModel):
    """The category of one ticket and how far it can be trusted.

    Attributes:
        category: The most probable category; among equals the first in the order of `CATEGORIES`.
        confidence: The calibrated probability of `category`, 0 to 1.
        probabilities: The calibrated probability of every category; they add up to 1.
        decision: `review` when a person should look before anything is done with the category, else `auto`.
        reasons: Why `review`, as short codes: `low_confidence`, `few_known_words`, `language`. Empty for `auto`.
        model_version: Which model said so.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    category: Category
    confidence: Share
    probabilities: dict[Category, Share]
    decision: Decision
    reasons: tuple[str, ...]
    model_version: str


class Classifying(Protocol):
    """A classifier as the tools use it."""

    @property
    def version(self) -> str:
        """Which model this is."""
        ...

    def predict_many(self, items: Sequence[tuple[str, str]]) -> list[Prediction]:
        """Classify tickets, each a subject and a body."""
        ...
