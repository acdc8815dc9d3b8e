"""What a few telling phrases say about a category before anything was learned.

A prior for tickets unlike those of the corpus: it knows little, but it knows it everywhere.
"""

from collections.abc import Iterator

import numpy as np

from gatebook_servers.classifier import text
from gatebook_servers.classifier.features import Floats
from gatebook_servers.classifier.models import CATEGORIES, Category
from gatebook_servers.classifier.text import TicketText

_LONGEST_PHRASE = 4
_MOST = 4.0
_WORDS_READ = 1_200

# Weights are in nats. The strong ones hardly ever occur in another category, the weak ones only lean.
_STRONG, _CLEAR, _WEAK = 1.6, 0.9, 0.45

_PHRASES: dict[Category, dict[float, tuple[str, ...]]] = {
    "Bug": {
        _STRONG: (
            *("segmentation fault", "stack trace", "core dumped", "memory leak", "is broken", "stopped working"),
            *("no longer works", "keeps crashing", "crashes when", "bug report", "regression"),
            *("internal server error", text.TRACE),
        ),
        _CLEAR: (
            *("bug", "crash", "crashes", "crashed", "crashing", "broken", "freezes", "hangs", "deadlock", "nan"),
            *("does not work", "doesn't work", "not working", "incorrect", "incorrectly", "worked before", "glitch"),
            *("since the update", "after the update", "after updating", "fails with", "error message"),
            *("stack dump", "unresponsive", "flickers", text.ERROR),
        ),
        # The headings of issue templates are here too: people ask questions under them as well.
        _WEAK: (
            *("fails", "failed", "failure", "wrong", "issue with", "unexpected", "unexpectedly", "stuck", "exception"),
            *("warning", "freeze", "outage", "slow", "won't", "to reproduce", "describe the bug", "what happened"),
        ),
    },
    "Feature": {
        _STRONG: (
            *("feature request", "feature suggestion", "would be nice", "would be great", "would be useful", "rfc"),
            *("would be helpful", "would be awesome", "would love", "describe the solution", "please add", "proposal"),
            *("it would be good", "nice to have", "wish there was", "i propose", "i'd suggest", "use case"),
        ),
        _CLEAR: (
            *("please consider", "add support", "support for", "i wish", "i'd like to see", "feature", "enhancement"),
            *("add option", "an option to", "allow", "add a", "should be able to", "ability to", "motivation"),
            *("suggestion", "suggest", "proposed", "alternatives", "would like to see", "needs an option", "dark mode"),
            *("could you add", "can you add", "it would", "introduce", "implement", "improvement"),
        ),
        _WEAK: (
            *("add", "option", "improve", "expose", "integrate", "provide", "useful", "currently", "instead of"),
            *("hope", "convenient", "request", "customize", "customise", "enable", "idea", "api"),
        ),
    },
    "Support": {
        _STRONG: (
            *("how do i", "how can i", "how to", "how can we", "what is the difference", "where can i", "where do i"),
            *("where is my", "can someone explain", "can anyone", "am i doing wrong", "when will", "do i need to"),
            *("is there any way", "what does it mean", "best regards", text.QUESTION_TITLE),
        ),
        _CLEAR: (
            *("question", "could you please", "can you tell", "could you tell", "is it possible to", "i don't know"),
            *("i don't understand", "is there a way", "what is the", "what are the", "why is", "why does", "can i"),
            *("thanks in advance", "any help", "need help", "help me", "my card", "my account", "my order", "invoice"),
            *("should i", "do you", "i am trying to", "i'm trying to", "not sure", "how does", "how much", "how long"),
            *(
                "refund",
                "subscription",
                "i need assistance",
                "kind regards",
                "documentation",
                "tutorial",
                "stackoverflow",
            ),
        ),
        _WEAK: (
            *("how", "what", "why", "where", "which", "when", "thanks", "thank you", "please help", "help", "explain"),
            *("account", "billing", "transfer", "payment", "charged", "instructions", "guide", "understand", "anyone"),
        ),
    },
    "Spam": {
        _STRONG: (
            *("you have won", "claim your", "to claim", "click here", "guest post", "backlinks", "dofollow", "seo"),
            *("lottery", "cash prize", "awarded", "airdrop", "unsubscribe", "subscribe to my", "my channel", "t cs"),
            *("free entry", "call now", "txt", "ringtone", "ringtones", "text stop", "terms apply"),
            *("reply stop", "weight loss", "casino", "forex", "bitcoin investment", "loan offer", "next of kin"),
            *(
                "recovery phrase",
                "gift card",
                "gift cards",
                "earn money",
                "make money",
                "hot singles",
                "no prescription",
            ),
            *("congratulations you", "risk free", "first page", "per msg", "ppm", "passive income"),
        ),
        _CLEAR: (
            *(
                "winner",
                "prize",
                "won",
                "voucher",
                "congratulations",
                "congrats",
                "guaranteed",
                "limited time",
                "buy now",
            ),
            *("order now", "act now", "offer", "special offer", "discount", "cheap", "whatsapp", "telegram", "bonus"),
            *("urgent", "verify your account", "suspended", "investment", "million", "dear friend", "unclaimed"),
            *("your business", "your website", "landline", "chat", "sexy", "dating", "p per", "mobile number", "mins"),
        ),
        _WEAK: (
            *("free", "cash", "win", "stop", "reply", "subscribe", "customer", "call", "deal", "dear", "click"),
            *(text.SHOUT, text.EXCLAIM, text.MONEY),
        ),
    },
}

# Promotions do not paste code; tickets about payments and give-aways of a blockchain do.
_NOT_SPAM: tuple[str, ...] = (text.CODE, text.ERROR, text.TRACE, "version", "reproduce", "docs", "issue", "install")
_NOT_SPAM_PENALTY = 0.8

_EVIDENCE: dict[str, tuple[int, float]] = {
    phrase: (CATEGORIES.index(category), weight)
    for category, by_weight in _PHRASES.items()
    for weight, phrases in by_weight.items()
    for phrase in phrases
}


def lexicon_scores(ticket: TicketText) -> Floats:
    """Return unnormalised log-probabilities in the order of `CATEGORIES`, within -4 and 4 nats.

    Only the first 1,200 words count; a phrase counts once, and half as much again in the subject.
    """
    scores = np.zeros(len(CATEGORIES))
    in_title = set(_phrases(ticket.title))
    found = in_title | set(_phrases(ticket.words[:_WORDS_READ]))
    # Markers of style stand at the very end, beyond what is read of a long ticket.
    found |= set(ticket.words[-3:]) & {text.QUESTION_TITLE, text.SHOUT, text.EXCLAIM}
    for phrase in sorted(found & _EVIDENCE.keys()):
        category, weight = _EVIDENCE[phrase]
        scores[category] += weight * (1.5 if phrase in in_title else 1.0)
    scores[CATEGORIES.index("Spam")] -= _NOT_SPAM_PENALTY * sum(phrase in found for phrase in _NOT_SPAM)
    return np.clip(scores, -_MOST, _MOST)


def _phrases(words: tuple[str, ...]) -> Iterator[str]:
    for length in range(1, _LONGEST_PHRASE + 1):
        for start in range(len(words) - length + 1):
            yield " ".join(words[start : start + length])
