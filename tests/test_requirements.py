"""Every promise has its tests, and every test of the whole proves a promise."""

import ast
from pathlib import Path

import pytest

from requirements import PROMISES

TESTS = Path(__file__).parent
WHOLE = ("e2e", "crash")
"""Suites that are about what a user gets; a test in them that proves no promise is in the wrong place."""
STRUCTURE = {"e2e/test_distribution.py::test_the_hidden_file_that_claude_code_reads_is_the_same_file"}


@pytest.mark.parametrize("name", PROMISES)
def test_a_promise_is_proved_by_tests_that_exist(name: str) -> None:
    promise = PROMISES[name]
    assert promise.tests
    for test in promise.tests:
        file, _, function = test.partition("::")
        assert function in functions(TESTS / file), test


def test_what_a_user_gets_is_tested_for_a_promise() -> None:
    proving = {test for promise in PROMISES.values() for test in promise.tests}
    for folder in WHOLE:
        for file in sorted((TESTS / folder).glob("test_*.py")):
            tests = {f"{folder}/{file.name}::{name}" for name in functions(file) if name.startswith("test_")}
            assert tests - STRUCTURE <= proving


def functions(file: Path) -> set[str]:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))}
