"""The text of a failing case."""

from __future__ import annotations

from touchstone.reports.records import EndLine


def explain(record: EndLine, sentence: str) -> str:
    """The text of a failing case: who, what was required, what was seen, and how to see it again."""
    versions = ", ".join(f"{n} {v}" for n, v in record.versions.items())
    params = ", ".join(f"{n}={v}" for n, v in record.params.items())
    lines = [
        f"{record.target} ({versions}) {record.verdict}: {record.requirement}",
        f"  required   {sentence}",
        f"  case       {params}",
        f"  observed   {record.behaviour}" + (f": {record.message}" if record.message else ""),
        f"  golden     {record.golden}" if record.golden else "",
        f"  registered {record.note}" if record.note else "",
        f"  upstream   {record.upstream}" if record.upstream else "",
        f"  rerun      {record.rerun}",
    ]
    return "\n".join(line for line in lines if line)
