"""What the documents say is what the code does."""

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from documentation import commands, guarantees_page, settings_page, tools_page
from gatebook import errors
from gatebook_servers.cli import parser

ROOT = Path(__file__).parents[1]
PAGES = {"guarantees.md": guarantees_page, "tools.md": tools_page, "configure.md": settings_page}


@pytest.mark.parametrize("name", PAGES)
def test_a_page_written_from_the_code_is_up_to_date(name: str) -> None:
    page: Callable[[], str] = PAGES[name]
    file = ROOT / "docs" / name
    if os.environ.get("UPDATE_DOCS"):
        file.write_text(page(), encoding="utf-8")
    assert file.read_text(encoding="utf-8") == page(), "run with UPDATE_DOCS=1 if the change is meant"


def test_every_code_of_a_refusal_is_explained() -> None:
    explained = (ROOT / "docs" / "concepts.md").read_text(encoding="utf-8")
    codes = {
        found.code
        for found in vars(errors).values()
        if isinstance(found, type) and issubclass(found, errors.GatebookError)
    } - {errors.GatebookError.code}
    assert not {code for code in codes if f"`{code}`" not in explained}


def test_every_command_that_a_document_names_exists() -> None:
    known = {name.split()[0] for name, _ in commands(parser())}
    for file in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        named = set(re.findall(r"gatebook ([a-z]+)(?=[ `|\n])", file.read_text(encoding="utf-8")))
        assert named - known <= {"is", "to", "as"}, file.name


def test_links_between_documents_lead_somewhere() -> None:
    for file in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\(([^)#]+)\)", file.read_text(encoding="utf-8")):
            assert target.startswith("https://") or (file.parent / target).exists(), f"{file.name}: {target}"
