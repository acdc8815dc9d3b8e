"""Whether a ticket is written in a language that the model was trained on, which is English.

Not a language detector: it only has to notice when the model's confidence means nothing.
"""

from gatebook_servers.classifier.text import TicketText

_LARGEST_FOREIGN_SCRIPT_SHARE = 0.3
_FEWEST_FOREIGN_WORDS = 2
_LAST_LATIN_LETTER = "\u024f"

_ENGLISH_WORDS = """
a about after all am an and any are as at be because been but by can could did do does for from had has have how i
if in into is it its just me my no not now of on one or our out please she so some than that the their them then
there these they this to up us was we were what when where which who why will with would you your
"""
# Words of German, French, Spanish, Portuguese, Italian, Dutch, Polish and Swedish that English text hardly contains.
_FOREIGN_WORDS = """
aber alle auch auf aus bei bitte das dem den der durch ein eine einen einer es für haben ich im ist kann keine mehr
mein meine mich mit nach nicht noch oder sehr sich sie sind und uns unser von warum wenn werden wie wir wird zu zum
zur können möchte guten danke hallo avec aux bonjour cette dans depuis elle est être je la le les leur mais merci ne
nous pas peux pour pourquoi que qui sont sur une vous votre al como con cuando cuenta de del donde el ella en está
esta este gracias hay hola los las mi muy necesito para pero por puedo qué quiero se su también tengo una uno ao com
da dos eu isso mas meu minha na não nos obrigado olá posso quando são seu também tem uma você che ciao di gli grazie
ho il mio nel non per perché più questo sono un een geen heb het hoe ik kan maar mijn niet ook voor waarom wat zijn
czy dlaczego dziękuję jak mam mnie nie proszę się att det där för hur inte jag och på som är
"""

_ENGLISH = frozenset(_ENGLISH_WORDS.split())
_FOREIGN = frozenset(_FOREIGN_WORDS.split()) - _ENGLISH


def is_covered(ticket: TicketText) -> bool:
    """Return whether the ticket looks English: Latin letters, and not mostly function words of its neighbours."""
    letters = [character for character in ticket.letters if character.isalpha()]
    foreign_letters = sum(character > _LAST_LATIN_LETTER for character in letters)
    if foreign_letters > _LARGEST_FOREIGN_SCRIPT_SHARE * len(letters):
        return False
    english = sum(word in _ENGLISH for word in ticket.words)
    foreign = sum(word in _FOREIGN for word in ticket.words)
    return foreign < _FEWEST_FOREIGN_WORDS or foreign <= english
