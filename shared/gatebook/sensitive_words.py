"""The vocabulary of the sensitive-term matcher: data alone, in the languages customers write in."""

from typing import NamedTuple

__all__ = ["INNOCENT_AROUND", "INSIDE", "NEUTRAL", "POSSESSIVE", "SLIPPABLE", "TERMS", "TOGETHER", "Together"]

# A term and, after commas, its other forms; semicolons part terms. Words may touch, or stand apart without letters.
TERMS = {
    "refund": (
        "refund, refunds, refunded, refunding, refundable, refunder",
        "reimbursement, reimburse, reimburses, reimbursed, reimbursing, reimbursements, reimbursable",
        "chargeback, chargebacks, charge back, charge backs, charged back",
        "money back",
        "Rückerstattung, Rückerstattungen, zurückerstatten, zurückerstattet; Rückzahlung, Rückzahlungen",
        "Erstattung, Erstattungen, erstatten, erstattet; Geld zurück",
        "remboursement, remboursements, rembourser, remboursez, remboursé, remboursée",
        "reembolso, reembolsos, reembolsar, reembolsado; devolución del dinero",
        "rimborso, rimborsi; terugbetaling",
        "возврат денег, возврат средств; вернуть деньги, верните деньги",
    ),
    "legal": (
        "legal, legally, legality, legals, legales, légale, légaux, legalmente, légalement, legali",
        "lawyer, lawyers, lawyered; law firm, law firms",
        "attorney, attorneys; solicitor, solicitors; barrister, barristers",
        "counsel, counsels",
        "lawsuit, lawsuits, law suit, law suits; litigation, litigate, litigious; class action",
        "sued, suing, sue you, sue us, sue your, sue them, sue him, sue for, sue over, sue if",
        "to sue, will sue, ll sue, can sue, could sue, should sue, would sue, may sue, might sue, gonna sue, must sue",
        "court, courts, court order; small claims; subpoena, subpoenas, subpoenaed",
        "breach of contract, breached the contract, breach of our contract, contractual breach; cease and desist",
        "consumer law; against the law; law enforcement; consumer protection; ombudsman; arbitration",
        "data protection authority; data protection officer; data protection law; supervisory authority",
        "subject access request, subject access requests, DSAR; right to erasure; right to be forgotten",
        "Rechtsanwalt, Rechtsanwälte; Anwalt, Anwälte, Anwältin; Rechtsabteilung; Datenschutzbeauftragter",
        "Klage; verklagen, verklage, verklagt; Gericht; Datenschutzbehörde",
        "rechtlich, rechtliche, rechtlicher",
        "avocat, avocats, avocate; action en justice; mise en demeure; poursuites judiciaires; juridique; tribunal",
        "abogado, abogados, abogada; demanda judicial; demandar; advogado; avvocato",
        "юрист, юристы; адвокат; подать в суд",
    ),
    "data_breach": (
        "data breach, data breaches, data breached, breached data",
        "data leak, data leaks, data leaked, data leakage, leaked data",
        "data exposure, data exposed, exposed data, data disclosure; data theft, data stolen, stolen data; data spill",
        "security breach, security breaches; security incident, security incidents; privacy breach; privacy incident",
        "breach of privacy; breach of confidentiality, confidentiality breach; breach notification; account breach",
        "Datenpanne, Datenpannen; Datenleck, Datenlecks; Datenschutzverletzung; Datenschutzvorfall; Datendiebstahl",
        "fuite de données, fuites de données; violation de données; violación de datos; fuga de datos",
        "filtración de datos; brecha de datos; violazione dei dati; violação de dados; vazamento de dados",
        "утечка данных, утечки данных",
    ),
}

# Found anywhere inside a word ("refundplease", "DataBreachNotice", compounds) or in a script without spaces.
INSIDE = {
    "refund": {
        "refund": "refund",
        "reimburs": "reimbursement",
        "chargeback": "chargeback",
        "moneyback": "money back",
        "erstatt": "Erstattung",
        "rembours": "remboursement",
        "reembols": "reembolso",
        "返金": "返金",
        "退款": "退款",
        "환불": "환불",
    },
    "legal": {
        "lawsuit": "lawsuit",
        "attorney": "attorney",
        "rechtsanwa": "Rechtsanwalt",
        "弁護士": "弁護士",
        "律师": "律师",
    },
    "data_breach": {
        "databreach": "data breach",
        "dataleak": "data leak",
        "datenleck": "Datenleck",
        "情報漏": "情報漏洩",
    },
}
INNOCENT_AROUND = ("prefund", "berichterstatt")

# Only what lawyers do not say: "legal case", "legal arguments" or "legal operations" hold the ticket.
_TECHNICAL_NOUNS = (
    "array arrays byte bytes char character characters chars combination combinations format formats expression"
    " expressions filename filenames hex html identifier identifiers index indexes indices inputs integer javascript"
    " json keyword keywords opcode opcodes operand operands operator parameter parameters python range ranges regex"
    " size sized sizes string strings symbol symbols syntax token tokens transition transitions type types unicode"
    " utf utf8 value values variable variables xml yaml"
)
NEUTRAL = ("illegal", "illegally", *(f"legal {noun}" for noun in _TECHNICAL_NOUNS.split()))


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


POSSESSIVE = _words("our my your their his her")
_PEOPLE = _words(
    "customer customers client clients personal patient patients employee employees user users private confidential"
    " sensitive member members subscriber subscribers people"
)
_OURS = _words("our my your their us company companies card cards medical health")
_DATA = _words(
    "data database databases records record information info details credentials passwords password pii phi files"
    " documents invoices accounts emails addresses"
)


class Together(NamedTuple):
    """A term whose words stand near each other, in any order: the anchor and one of each other group."""

    term: str
    category: str
    within: int
    anchor: frozenset[str]
    others: tuple[frozenset[str], ...]
    unless_near: frozenset[str] = frozenset()


TOGETHER = (
    Together(
        "breach of data",
        "data_breach",
        5,
        _words("breach breaches breached breaching"),
        (_DATA | _PEOPLE,),
        _words("sla slas slo slos limit limits threshold thresholds contract deadline quota budget"),
    ),
    Together(
        "leaked data",
        "data_breach",
        5,
        _words("leak leaks leaked leaking leakage exfiltrated stolen stole hacked compromised"),
        (_DATA, _PEOPLE | _OURS),
        _words("memory resource handle handles fd thread goroutine descriptor gpu ram vram"),
    ),
    Together(
        "exposed data",
        "data_breach",
        8,
        _words("exposed exposure exposing exposes disclosed disclosure unauthorized unauthorised"),
        (_DATA, _PEOPLE),
    ),
    Together(
        "leaked passwords",
        "data_breach",
        4,
        _words("leak leaks leaked leaking leakage exfiltrated stolen stole hacked compromised exposed exposure"),
        (_words("credentials passwords password pii phi"),),
    ),
    Together(
        "someone else's data",
        "data_breach",
        8,
        _words("another other others else elses different wrong"),
        (
            _words("customer customers client clients company companies user users tenant patient someone"),
            _words("data records record invoice invoices details information export orders documents"),
            _words("see sees seeing saw seen view viewed open opened access accessed shows showed got received"),
        ),
    ),
    Together(
        "GDPR complaint",
        "legal",
        4,
        _words("gdpr dsgvo rgpd ccpa"),
        (
            _words(
                "complaint complaints complain violation violations violate violates violated violating breach breached"
                " fine fines infringement erasure request requests rights article art report regulator authority"
            ),
        ),
    ),
    Together("money back", "refund", 4, _words("money cash"), (_words("back returned"),)),
    Together(
        "disputed charge",
        "refund",
        3,
        _words("dispute disputed disputing reverse reversed reversal"),
        (_words("charge charges payment payments transaction billing"),),
    ),
)

# Terms that are also found with one slip of the keyboard in them.
SLIPPABLE = _words("refund reimbursement chargeback legal lawyer lawsuit attorney") | {"data breach"}
