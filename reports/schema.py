"""docs/records.schema.json: the JSON schema of the lines of results.jsonl and benchmarks.jsonl, made of their types."""

from __future__ import annotations

import json

import msgspec

from touchstone.reports.records import SCHEMA, Line


def _document() -> dict[str, object]:
    made = msgspec.json.schema(Line)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"A line of a Touchstone report, schema {SCHEMA}",
        **made,
    }


def render() -> str:
    """The content of docs/records.schema.json, its keys sorted so that it changes only where a type does."""
    return json.dumps(_document(), indent=1, sort_keys=True) + "\n"
