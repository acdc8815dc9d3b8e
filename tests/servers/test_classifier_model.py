import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from importlib.resources.abc import Traversable
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from gatebook_servers.classifier import training
from gatebook_servers.classifier.artifact import (
    ARRAYS_FILE,
    MANIFEST_FILE,
    Manifest,
    ModelFileError,
    digest,
    pack,
    read_model,
    write_model,
)
from gatebook_servers.classifier.corpus import CORPUS_FILE, GRAMMAR_FILE, read_corpus
from gatebook_servers.classifier.evaluation import evaluate
from gatebook_servers.classifier.model import TicketClassifier, starter_folder
from gatebook_servers.classifier.models import CATEGORIES, Category, Prediction
from gatebook_servers.classifier.text import ERROR, LONG_NUMBER, MAIL, MONEY, TRACE, URL, TicketText, read_ticket

STARTER: Traversable = starter_folder()


@pytest.fixture(scope="module")
def classifier() -> TicketClassifier:
    return TicketClassifier.load_shipped()


@pytest.fixture
def copied_model(tmp_path: Path) -> Path:
    for name in (ARRAYS_FILE, MANIFEST_FILE):
        tmp_path.joinpath(name).write_bytes(STARTER.joinpath(name).read_bytes())
    return tmp_path


def body_of(text: str) -> TicketText:
    return read_ticket(subject="", body=text)


# What it says


@pytest.mark.parametrize(
    ("expected", "subject", "body"),
    [
        ("Bug", "Upload crashes", "Since the last update the app crashes whenever I upload a video. It worked before."),
        ("Bug", "KeyError in merge()", "Calling `merge({})` fails with `KeyError: 'id'`. Expected an empty result."),
        (
            "Feature",
            "Archive button",
            "Please add a button to archive old projects. It would be nice to have them aside.",
        ),
        ("Support", "How do I rename my team?", "Hello, I cannot find where to change the name. Could you tell me?"),
        ("Support", "", "How long does it take until my new card arrives?"),
        ("Spam", "You are a winner", "Congratulations! You have won a free cruise. Call now to claim your prize!"),
        ("Spam", "Backlinks", "We offer cheap SEO and backlinks, first page guaranteed. Order now http://rank.example"),
    ],
)
def test_plain_tickets_get_their_category(
    classifier: TicketClassifier, expected: Category, subject: str, body: str
) -> None:
    prediction = classifier.predict(subject=subject, body=body)

    assert prediction.category == expected
    assert (prediction.decision, prediction.reasons) == ("auto", ())


def test_probabilities_cover_every_category_and_add_up_to_one(classifier: TicketClassifier) -> None:
    prediction = classifier.predict(subject="Export", body="The export of the yearly report is empty since Monday.")

    assert set(prediction.probabilities) == set(CATEGORIES)
    assert sum(prediction.probabilities.values()) == pytest.approx(1, abs=1e-5)
    assert (
        prediction.confidence == prediction.probabilities[prediction.category] == max(prediction.probabilities.values())
    )


def test_a_batch_says_the_same_as_single_calls_and_keeps_the_order(classifier: TicketClassifier) -> None:
    items = [("Crash", "It crashes when I press save."), ("", ""), ("How do I log in?", "Where is the page?")]

    assert classifier.predict_many(items) == [classifier.predict(subject=s, body=b) for s, b in items]
    assert classifier.predict_many([]) == []


def test_the_version_names_the_model_file(classifier: TicketClassifier) -> None:
    expected = "starter-" + digest(STARTER.joinpath(ARRAYS_FILE).read_bytes())[:12]

    assert classifier.predict(subject="a", body="b").model_version == expected


def test_an_empty_ticket_is_left_to_a_person(classifier: TicketClassifier) -> None:
    prediction = classifier.predict(subject="", body="")

    assert prediction.decision == "review"
    assert prediction.reasons == ("low_confidence", "few_known_words")


def test_a_ticket_of_unknown_words_is_left_to_a_person(classifier: TicketClassifier) -> None:
    assert "few_known_words" in classifier.predict(subject="qwrtz", body="blorf zzyx vrumm frobnax").reasons


@pytest.mark.parametrize(
    "body",
    [
        "Guten Tag, ich kann mich seit gestern nicht mehr bei Ihnen anmelden. Bitte helfen Sie mir.",
        "Bonjour, je ne peux pas ouvrir la page et une erreur est affichée. Merci pour votre aide.",
        "Hola, no puedo entrar en mi cuenta, necesito una factura para la empresa. Muchas gracias.",
        "Olá, não consigo entrar na minha conta, você pode me ajudar? Obrigado.",
        "Здравствуйте, приложение не запускается после обновления.",
        "アプリが起動しません。助けてください。",
    ],
)
def test_other_languages_are_left_to_a_person(classifier: TicketClassifier, body: str) -> None:
    prediction = classifier.predict(subject="", body=body)

    assert prediction.decision == "review"
    assert "language" in prediction.reasons


def test_an_english_ticket_with_a_foreign_name_is_covered(classifier: TicketClassifier) -> None:
    prediction = classifier.predict(
        subject="Search for Müller", body="When I search for the customer Casa de la Luz I get an error and no results."
    )

    assert "language" not in prediction.reasons


def test_a_prediction_cannot_be_changed(classifier: TicketClassifier) -> None:
    prediction = classifier.predict(subject="a", body="b")

    with pytest.raises(ValidationError):
        prediction.category = "Spam"  # pyright: ignore[reportAttributeAccessIssue] - that is the point


# What it reads


def test_comments_of_issue_templates_are_not_read() -> None:
    assert body_of("before <!-- never\nthis --> after <!-- nor an open one").words == ("before", "after")


def test_quoted_replies_are_not_read() -> None:
    text = "Thanks, solved.\n> older words\nOn Monday Mara Lindqvist wrote:\nthe whole history"

    assert body_of(text).words == ("thanks", "solved")


def test_a_message_that_only_quotes_is_read_all_the_same() -> None:
    assert body_of("> only this").words == ("only", "this")


def test_code_and_traces_become_single_markers() -> None:
    text = "See:\n```\nx = 1\nTypeError: bad\n```\n  at run (a.js:1:2)\n  at main (a.js:9:1)\nend"

    assert Counter(body_of(text).words) == Counter(["see", "codetok", ERROR, TRACE, "end"])


def test_addresses_and_amounts_become_markers() -> None:
    text = "Write to ada@desk.example or www.desk.example/x?y=1, pay $1,200.50, call 0900 555 0123"

    assert body_of(text).words == ("write", "to", MAIL, "or", URL, "pay", MONEY, "call", LONG_NUMBER)


def test_disguised_letters_are_read_as_plain_ones() -> None:
    assert body_of("ｆｒｅｅ pri\u200bze").words == ("free", "prize")  # noqa: RUF001 - full-width on purpose


@pytest.mark.parametrize(
    "hostile",
    [
        pytest.param("<!--" * 5_000, id="open-comments"),
        pytest.param("a." * 10_000, id="addresses"),
        pytest.param("<a" * 10_000, id="open-tags"),
        pytest.param("1 " * 10_000, id="numbers"),
        pytest.param("$1" * 10_000, id="amounts"),
        pytest.param("`a" * 10_000, id="ticks"),
        pytest.param("a" + "\u0315\u0300" * 10_000, id="combining-marks"),
        pytest.param("\ufdfa" * 20_000, id="long-compatibility-forms"),
        pytest.param("at (\n```\n" * 2_000, id="traces-and-fences"),
        pytest.param("word " * 1_000_000, id="huge"),
    ],
)
def test_hostile_text_takes_no_longer_than_long_text(classifier: TicketClassifier, hostile: str) -> None:
    before = time.process_time()
    classifier.predict(subject=hostile, body=hostile)

    # Takes 0.1 s of processor time; the quadratic versions of these patterns take from 2 s to minutes.
    assert time.process_time() - before < 1.5


# What ships


def test_the_committed_model_was_trained_on_the_committed_corpus() -> None:
    manifest = Manifest.model_validate_json(STARTER.joinpath(MANIFEST_FILE).read_bytes())

    assert manifest.corpus_sha256 == digest(STARTER.joinpath(CORPUS_FILE).read_bytes())
    assert manifest.grammar_sha256 == digest(STARTER.joinpath(GRAMMAR_FILE).read_bytes())
    assert manifest.label_count == len(read_corpus(STARTER))


def test_training_again_gives_the_committed_parameters() -> None:
    committed, _ = read_model(STARTER)
    again = training.train_parameters(read_corpus(STARTER))

    # Not bit for bit: another processor may add in another order, and the file holds half precision.
    np.testing.assert_allclose(again.linear.weights, committed.linear.weights, atol=0.02)
    np.testing.assert_allclose(again.linear.bias, committed.linear.bias, atol=0.02)
    np.testing.assert_allclose(again.rarity, committed.rarity, atol=0.01)
    assert again.known_words == committed.known_words


def test_training_twice_gives_the_same_bytes() -> None:
    # One row in eight keeps all categories and is quick.
    corpus = read_corpus(STARTER)[::8]

    assert pack(training.train_parameters(corpus)) == pack(training.train_parameters(corpus))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_training_command_writes_what_is_committed(tmp_path: Path) -> None:
    arrays, manifest = training.train(STARTER)
    write_model(tmp_path, arrays=arrays, manifest=manifest)
    committed = Manifest.model_validate_json(STARTER.joinpath(MANIFEST_FILE).read_bytes())

    assert manifest.temperature == pytest.approx(committed.temperature, rel=0.05)
    assert manifest.metrics.macro_f1 == pytest.approx(committed.metrics.macro_f1, abs=0.01)
    assert TicketClassifier.load(tmp_path).predict(subject="Crash", body="It crashes on startup").category == "Bug"


def test_the_corpus_is_large_balanced_and_free_of_duplicates() -> None:
    written = [row for row in read_corpus(STARTER) if not row.id.startswith("pattern-")]
    labels = Counter(row.label for row in written)

    assert len(written) >= 240
    assert min(labels.values()) * 2 > max(labels.values())
    assert len({(row.subject, row.body) for row in written}) == len(written) == len({row.id for row in written})


def test_the_corpus_names_no_real_address() -> None:
    for row in read_corpus(STARTER):
        for word in f"{row.subject} {row.body}".split():
            if "://" in word or word.startswith("www."):
                assert ".example" in word, row.id


def test_the_model_file_is_small() -> None:
    assert len(STARTER.joinpath(ARRAYS_FILE).read_bytes()) < 1_500_000


def test_declaring_predictions_needs_no_numpy() -> None:
    program = "import sys, gatebook_servers.classifier.models; sys.exit('numpy' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


# What is refused


def test_an_altered_model_file_is_refused(copied_model: Path) -> None:
    content = bytearray(copied_model.joinpath(ARRAYS_FILE).read_bytes())
    content[len(content) // 2] ^= 1
    copied_model.joinpath(ARRAYS_FILE).write_bytes(content)

    with pytest.raises(ModelFileError, match="is not the file"):
        TicketClassifier.load(copied_model)


def test_a_pickle_in_the_model_file_is_refused_even_with_the_right_digest(copied_model: Path) -> None:
    objects = np.array([{"an": "object"}], dtype=object)
    with copied_model.joinpath(ARRAYS_FILE).open("wb") as file:
        np.savez(file, weights=objects, bias=objects, rarity=objects, known_words=objects)
    restate(copied_model, arrays_sha256=digest(copied_model.joinpath(ARRAYS_FILE).read_bytes()))

    with pytest.raises(ModelFileError, match="does not hold the arrays"):
        TicketClassifier.load(copied_model)


def test_a_file_that_is_no_archive_is_refused(copied_model: Path) -> None:
    copied_model.joinpath(ARRAYS_FILE).write_bytes(b"PK\x03\x04 cut off")
    restate(copied_model, arrays_sha256=digest(b"PK\x03\x04 cut off"))

    with pytest.raises(ModelFileError, match="does not hold the arrays"):
        TicketClassifier.load(copied_model)


def test_a_model_for_other_features_is_refused(copied_model: Path) -> None:
    restate(copied_model, feature_spec=99)

    with pytest.raises(ModelFileError, match="train it again"):
        TicketClassifier.load(copied_model)


@pytest.mark.parametrize("missing", [ARRAYS_FILE, MANIFEST_FILE])
def test_half_a_model_is_refused(copied_model: Path, missing: str) -> None:
    copied_model.joinpath(missing).unlink()

    with pytest.raises(ModelFileError, match="cannot be read"):
        TicketClassifier.load(copied_model)


def restate(folder: Path, **changes: str | int) -> None:
    path = folder.joinpath(MANIFEST_FILE)
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | changes), encoding="utf-8")


# How it is measured


def predicted(category: Category, confidence: float, *, decision: str = "auto") -> Prediction:
    rest = (1 - confidence) / 3
    return Prediction.model_validate(
        {
            "category": category,
            "confidence": confidence,
            "probabilities": {name: confidence if name == category else rest for name in CATEGORIES},
            "decision": decision,
            "reasons": (),
            "model_version": "test",
        }
    )


def test_evaluation_counts_what_was_confused() -> None:
    figures = evaluate(
        [
            ("Bug", predicted("Bug", 0.9)),
            ("Bug", predicted("Support", 0.5, decision="review")),
            ("Support", predicted("Support", 0.7)),
            ("Feature", predicted("Feature", 0.9)),
        ]
    )

    assert figures.confusion["Bug"] == {"Bug": 1, "Feature": 0, "Support": 1, "Spam": 0}
    assert (figures.categories["Bug"].precision, figures.categories["Bug"].recall) == (1.0, 0.5)
    assert figures.categories["Support"].f1 == pytest.approx(2 / 3)
    assert figures.accuracy == 0.75
    assert (figures.automatic, figures.automatic_accuracy) == (0.75, 1.0)


def test_macro_f1_leaves_out_categories_that_never_occur() -> None:
    assert evaluate([("Bug", predicted("Bug", 0.9)), ("Support", predicted("Support", 0.9))]).macro_f1 == 1.0


def test_calibration_error_is_the_gap_between_confidence_and_accuracy() -> None:
    pairs: list[tuple[Category, Prediction]] = [
        ("Bug", predicted("Bug", 0.8)),
        ("Spam", predicted("Bug", 0.8)),
    ]

    assert evaluate(pairs).expected_calibration_error == pytest.approx(0.3)


def test_coverage_falls_and_names_no_accuracy_when_nothing_is_left() -> None:
    rows = evaluate([("Bug", predicted("Bug", 0.85)), ("Bug", predicted("Spam", 0.55))]).coverage

    assert [row.coverage for row in rows] == sorted((row.coverage for row in rows), reverse=True)
    by_threshold = {row.threshold: row for row in rows}
    assert (by_threshold[0.0].coverage, by_threshold[0.0].accuracy) == (1.0, 0.5)
    assert (by_threshold[0.8].coverage, by_threshold[0.8].accuracy) == (0.5, 1.0)
    assert (by_threshold[0.95].coverage, by_threshold[0.95].accuracy) == (0.0, None)


def test_evaluating_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing to evaluate"):
        evaluate([])


# On tickets it was not made from


def shared_data(name: str) -> Path:
    default = Path(__file__).parents[2].parent / "shared" / "data"
    path = Path(os.environ.get("GATEBOOK_SHARED_DATA", default)) / name
    if not path.exists():
        pytest.skip(f"{name} is not here; GATEBOOK_SHARED_DATA names its folder")
    return path


def records(path: Path) -> Iterator[dict[str, str]]:
    with path.open(encoding="utf-8") as lines:
        yield from (json.loads(line) for line in lines)


def test_real_issues_are_hardly_ever_called_spam_and_real_spam_mostly_is(classifier: TicketClassifier) -> None:
    rows = list(records(shared_data("inbox-real.jsonl")))
    predictions = classifier.predict_many([(row["subject"], row["body"]) for row in rows])
    spam = Counter(row["id"][:3] for row, guess in zip(rows, predictions, strict=True) if guess.category == "Spam")
    total = Counter(row["id"][:3] for row in rows)

    assert spam["GH-"] < 0.03 * total["GH-"]
    assert spam["SMS"] > 0.9 * total["SMS"]


@pytest.mark.slow
def test_figures_on_tickets_of_other_origins_do_not_fall(classifier: TicketClassifier) -> None:
    rows = list(records(shared_data("tickets-dev.jsonl")))
    labels: dict[str, Category] = {"bug": "Bug", "feature": "Feature", "support": "Support", "spam": "Spam"}
    predictions = classifier.predict_many([(row["subject"], row["body"]) for row in rows])
    figures = evaluate([(labels[row["label"]], guess) for row, guess in zip(rows, predictions, strict=True)])

    assert figures.macro_f1 > 0.71
    assert figures.expected_calibration_error < 0.1
