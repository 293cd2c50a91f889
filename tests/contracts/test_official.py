"""Our contract against what Fly publishes. The documents are not part of this project."""

from __future__ import annotations

from collections.abc import Set
from fnmatch import fnmatchcase
from pathlib import Path

import pytest
import yaml
from graphql import build_schema

from tests.contracts import contract, differences, graphql_contract, table

DOCUMENTS = Path(__file__).parents[3] / "shared" / "contracts" / "fly"

needs_documents = pytest.mark.skipif(
    not DOCUMENTS.is_dir(), reason=f"Fly's documents are not part of this project, and not at {DOCUMENTS}"
)


@pytest.fixture(scope="module")
def found() -> Set[str]:
    document = yaml.load((DOCUMENTS / "openapi.yaml").read_text(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    schema = build_schema((DOCUMENTS / "schema.graphql").read_text(), assume_valid=True)
    rest = differences.of_rest(contract.load(), document)
    return rest | differences.of_graphql(graphql_contract.load().schema, schema)


@needs_documents
def test_every_difference_is_listed_with_its_source(found: Set[str]) -> None:
    listed = [place for one in table.load() for place in one.places]
    assert sorted(place for place in found if not any(fnmatchcase(place, pattern) for pattern in listed)) == []


@needs_documents
def test_every_listed_difference_is_one(found: Set[str]) -> None:
    stale = [
        f"{one.area}: {pattern}"
        for one in table.load()
        for pattern in one.places
        if not any(fnmatchcase(place, pattern) for place in found)
    ]
    assert stale == []


def test_every_deviation_says_how_we_know() -> None:
    known = ("official client's source", "official documentation", "the document's own", "later revision", "inference")
    assert [one.area for one in table.load() if not any(source in one.source for source in known)] == []


def test_the_page_has_the_table() -> None:
    page = table.PAGE.read_text()
    assert page == table.with_table(page, table.table(table.load())), "run python -m tests.contracts.table"


def test_the_table_is_appended_once_and_replaced_afterwards() -> None:
    once = table.with_table("# Page\n\nText.\n", "first")
    assert once.startswith("# Page\n\nText.\n\n## Deviations")
    assert table.with_table(once, "second") == once.replace("first", "second")
