"""The table behind the run: of each threat how many cases there were, and what they brought about."""

from collections import defaultdict
from typing import cast

import pytest

from adversary.table import ELSEWHERE

Row = tuple[str, str, int, int, int, int]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reports = cast("list[pytest.TestReport]", terminalreporter.getreports("passed"))
    rows = [cast("Row", value) for one in reports for name, value in one.user_properties if name == "adversary"]
    if not rows:
        return
    sums: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0, 0])
    for threat, _, *numbers in rows:
        sums[threat] = [before + number for before, number in zip(sums[threat], numbers, strict=True)]
    line = "{:62} {:>7} {:>8} {:>14} {:>12}"
    terminalreporter.section("cases by threat")
    terminalreporter.line(line.format("threat", "cases", "executed", "without grant", "by machine"))
    for threat, numbers in sums.items():
        terminalreporter.line(line.format(threat, *numbers))
    total = [sum(column) for column in zip(*sums.values(), strict=True)]
    terminalreporter.line(line.format("all", *total))
    for threat, suite in ELSEWHERE.items():
        terminalreporter.line(f"{threat}: see {suite}")
