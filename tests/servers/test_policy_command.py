"""`gatebook approvals policy`, and the examples of the document."""

import json
import re
from pathlib import Path

import pytest

from gatebook_servers.cli import main

PAGE = (Path(__file__).parents[2] / "docs" / "policy.md").read_text(encoding="utf-8")
SEND = {"tool": "tickets.send_reply", "at": "2026-11-24T10:00:00+00:00", "earlier": 0}


def block(language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    assert found
    return found[1]


@pytest.fixture
def policy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The document's policy, in a home of its own."""
    monkeypatch.setenv("GATEBOOK_HOME", str(tmp_path))
    file = tmp_path / "policy.toml"
    file.write_text(block("toml"), encoding="utf-8")
    return file


def cases(folder: Path, *found: object) -> str:
    file = folder / "cases.json"
    file.write_text(json.dumps(found), encoding="utf-8")
    return str(file)


def test_the_examples_of_the_document_do_what_it_says(policy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = policy.parent / "cases.json"
    file.write_text(block("json"), encoding="utf-8")
    assert main(["approvals", "policy", "check", str(policy)]) == 0
    assert "the policy fits: 6 rules" in capsys.readouterr().out
    assert main(["approvals", "policy", "test", str(file)]) == 0
    assert "6 cases, 0 failed" in capsys.readouterr().out


def test_a_case_with_another_verdict_fails_and_says_what_it_is(
    policy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = {**SEND, "expect": {"outcome": "allow", "risk": "normal", "rules": ["press"]}}
    right = {**SEND, "tool": "tickets.create_ticket", "expect": {"outcome": "deny"}}
    file = cases(policy.parent, wrong, right)
    assert main(["approvals", "policy", "test", file, "--policy", str(policy), "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert (told["failed"], [case["ok"] for case in told["cases"]]) == (1, [False, True])
    assert told["cases"][0]["unexpected"] == {"outcome": "review", "rules": ["always_review"]}
    assert main(["approvals", "policy", "test", file]) == 1
    assert "2 cases, 1 failed" in capsys.readouterr().out


def test_a_tool_of_another_suite_counts_as_a_send(policy: Path) -> None:
    wanted = {"outcome": "review", "rules": ["cannot be undone"]}
    unknown = [{"tool": tool, "expect": wanted} for tool in ("billing.refund", "other.get_ticket")]
    assert main(["approvals", "policy", "test", cases(policy.parent, *unknown)]) == 0


@pytest.mark.parametrize("case", [{"tool": "a.b"}, {**SEND, "expect": {"outcome": "maybe"}}, {"expct": {}}, 7])
def test_cases_that_do_not_fit_are_refused(policy: Path, case: object, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["approvals", "policy", "test", cases(policy.parent, case)]) == 1
    assert "the cases do not fit at 0" in capsys.readouterr().err


def test_a_policy_that_does_not_fit_is_told_with_its_line(policy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    policy.write_text(block("toml").replace("more_than", "moretan"), encoding="utf-8")
    assert main(["approvals", "policy", "check"]) == 1
    line = next(number for number, text in enumerate(policy.read_text().splitlines(), 1) if "moretan" in text)
    said = capsys.readouterr().err
    assert f'line {line}, rule "burst"' in said
    assert "more_than" in said


def test_a_name_that_no_tool_has_is_told(policy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    policy.write_text('version = 1\nnever = ["tickets.delete_*"]', encoding="utf-8")
    assert main(["approvals", "policy", "check", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["without_a_tool"] == ["tickets.delete_*"]
    assert told["tools"]["tickets.send_reply"]["outcome"] == "review"
