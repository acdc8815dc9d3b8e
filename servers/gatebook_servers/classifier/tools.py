"""Classifier: what kind of ticket it is, how sure that is, and whether it is a sensitive matter."""

from typing import Annotated

from pydantic import Field

from gatebook.database.port import Transaction
from gatebook.errors import ForbiddenError
from gatebook.injection import Caller, Port
from gatebook.intents import Value
from gatebook.runtime import Runtime
from gatebook.sensitive import Hit
from gatebook.toolset import Toolset
from gatebook_servers.classifier.models import Category, Classifying, Prediction

tools = Toolset(
    "classifier",
    instructions="Sort tickets into Bug, Feature, Support and Spam, in batches. decision review: let a person look.",
)

BATCH = 50


def open_classifier(runtime: Runtime) -> Classifying:
    """Load the shipped model."""
    # Imported at the first use: numpy would cost every server's start a tenth of a second.
    from gatebook_servers.classifier.model import TicketClassifier  # noqa: PLC0415

    del runtime
    return TicketClassifier.load_shipped()


Classifier = Annotated[Classifying, Port(open_classifier)]
"""The trained model. Never part of a tool's input schema."""


class Item(Value):
    """A ticket to classify."""

    ref: Annotated[str, Field(description="The ticket's ref; its category is kept under it.", max_length=80)] = ""
    subject: Annotated[str, Field(max_length=2_000)] = ""
    text: Annotated[str, Field(max_length=20_000)] = ""


class Classification(Value):
    """A ticket's category."""

    ref: str
    category: Category
    confidence: float
    decision: str = Field(description="auto, or review: a person should look.")
    reasons: list[str]
    sensitive: list[str] = Field(description="Sensitive matters in the text.")


class Classifications(Value):
    """Categories in the order of the items."""

    items: list[Classification]
    model_version: str


class SensitiveCheck(Value):
    """Sensitive matters in a text."""

    sensitive: bool
    hits: list[Hit]


class Labelled(Value):
    """A person's label, kept for training."""

    ref: str
    category: Category
    changed: bool


class ClassifierReport(Value):
    """What was classified so far, and how often people disagreed."""

    model_version: str
    classified: int
    by_category: dict[str, int]
    for_review: int
    labels: int
    agreement: float | None = Field(description="Share of labels that the model had right; null without labels.")


@tools.stages()
async def classify_ticket(
    runtime: Runtime,
    caller: Caller,
    model: Classifier,
    subject: Annotated[str, Field(description="The subject.", max_length=2_000)] = "",
    text: Annotated[str, Field(description="The text.", max_length=20_000)] = "",
    ref: Annotated[str, Field(description="The ticket's ref; its category is kept under it.", max_length=80)] = "",
) -> Classification:
    """Classify one ticket. For several use classify_tickets."""
    found = await _classify(runtime, caller, model, [Item(ref=ref, subject=subject, text=text)])
    return found[0]


@tools.stages()
async def classify_tickets(
    runtime: Runtime,
    caller: Caller,
    model: Classifier,
    items: Annotated[list[Item], Field(description="Tickets.", min_length=1, max_length=BATCH)],
) -> Classifications:
    """Classify up to 50 tickets in one call and keep each category under its ref."""
    found = await _classify(runtime, caller, model, items)
    return Classifications(items=found, model_version=model.version)


@tools.reads
async def check_sensitive(
    runtime: Runtime,
    text: Annotated[str, Field(description="Any text.", max_length=200_000)],
) -> SensitiveCheck:
    """Find sensitive matters (refund, legal, data breach) in a text. The servers hold such texts by themselves."""
    hits = await runtime.blocking(lambda: runtime.terms.find(text))
    return SensitiveCheck(sensitive=bool(hits), hits=list(hits)[:50])


@tools.stages()
async def label_ticket(
    runtime: Runtime,
    caller: Caller,
    ref: Annotated[str, Field(description="The ticket's ref.", min_length=1, max_length=80)],
    category: Annotated[Category, Field(description="What a person said it is.")],
    subject: Annotated[str, Field(description="The subject.", max_length=2_000)],
    text: Annotated[str, Field(description="The text.", max_length=20_000)],
    said_by: Annotated[str, Field(description="Which person said so.", min_length=1, max_length=120)],
    note: Annotated[str, Field(description="Why.", max_length=500)] = "",
) -> Labelled:
    """Record what a person said a ticket is, to compare the model with. Never label by your own judgement."""
    if said_by.startswith("agent"):
        raise ForbiddenError("labels come from people.", next_step="Name the person who said so.")

    def store(tx: Transaction) -> bool:
        known = tx.one("SELECT category FROM labels WHERE ref = :ref", ref=ref)
        tx.execute(
            """INSERT INTO labels (ref, category, subject, body, labelled_by, note, labelled_at)
               VALUES (:ref, :category, :subject, :body, :by, :note, :now)
               ON CONFLICT (ref) DO UPDATE SET category = excluded.category, subject = excluded.subject,
                 body = excluded.body, labelled_by = excluded.labelled_by, note = excluded.note,
                 labelled_at = excluded.labelled_at""",
            ref=ref,
            category=category,
            subject=subject,
            body=text,
            by=f"{said_by} (by way of {caller.principal})",
            note=note,
            now=tx.now,
        )
        return known is None or known["category"] != category

    return Labelled(ref=ref, category=category, changed=await runtime.transact(store))


@tools.reads
async def classifier_report(runtime: Runtime, model: Classifier) -> ClassifierReport:
    """Read how many tickets were classified, and how people's labels compare."""

    def read(tx: Transaction) -> ClassifierReport:
        rows = tx.all("SELECT category, decision, COUNT(*) AS n FROM classifications GROUP BY category, decision")
        by_category: dict[str, int] = {}
        for row in rows:
            by_category[str(row["category"])] = by_category.get(str(row["category"]), 0) + int(row["n"] or 0)
        compared = tx.one(
            """SELECT COUNT(*) AS labels, SUM(CASE WHEN c.category = l.category THEN 1 ELSE 0 END) AS same,
                 COUNT(c.ref) AS both_known
               FROM labels l LEFT JOIN classifications c ON c.ref = l.ref"""
        )
        both = int(compared["both_known"] or 0) if compared else 0
        return ClassifierReport(
            model_version=model.version,
            classified=sum(by_category.values()),
            by_category=by_category,
            for_review=sum(int(row["n"] or 0) for row in rows if row["decision"] == "review"),
            labels=int(compared["labels"] or 0) if compared else 0,
            agreement=int(compared["same"] or 0) / both if compared and both else None,
        )

    return await runtime.transact(read)


async def _classify(runtime: Runtime, caller: Caller, model: Classifying, items: list[Item]) -> list[Classification]:
    predictions = await runtime.blocking(lambda: model.predict_many([(item.subject, item.text) for item in items]))
    found = [_classification(runtime, item, one) for item, one in zip(items, predictions, strict=True)]

    def keep(tx: Transaction) -> None:
        for item, one in zip(items, predictions, strict=True):
            if item.ref:
                _keep(tx, item.ref, one, caller.run)

    await runtime.transact(keep)
    return found


def _classification(runtime: Runtime, item: Item, prediction: Prediction) -> Classification:
    hits = runtime.terms.find(f"{item.subject}\n{item.text}")
    return Classification(
        ref=item.ref,
        category=prediction.category,
        confidence=round(prediction.confidence, 3),
        decision="review" if hits else prediction.decision,
        reasons=[*prediction.reasons, *(["sensitive"] if hits else [])],
        sensitive=sorted({hit.category for hit in hits}),
    )


def _keep(tx: Transaction, ref: str, prediction: Prediction, run_id: str) -> None:
    tx.execute(
        """INSERT INTO classifications (ref, category, confidence, decision, model_version, run_id, classified_at)
           VALUES (:ref, :category, :confidence, :decision, :version, :run_id, :now)
           ON CONFLICT (ref) DO UPDATE SET category = excluded.category, confidence = excluded.confidence,
             decision = excluded.decision, model_version = excluded.model_version, run_id = excluded.run_id,
             classified_at = excluded.classified_at""",
        ref=ref,
        category=prediction.category,
        confidence=prediction.confidence,
        decision=prediction.decision,
        version=prediction.model_version,
        run_id=run_id,
        now=tx.now,
    )
