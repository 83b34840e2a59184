"""``junit.xml``: the report for continuous integration, a suite per column."""

from __future__ import annotations

import re

from junitparser import Error, Failure, JUnitXml, Skipped, TestCase, TestSuite

from touchstone.reports.failure import explain
from touchstone.reports.model import Column, Report
from touchstone.reports.records import EndLine
from touchstone.verdict.rule import RED

_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 cannot hold (section 2.2)."""


def render(report: Report) -> bytes:
    """The content of ``junit.xml``; faults of the whole run, where there are any, are a suite of their own."""
    xml = JUnitXml("touchstone")
    for column in report.columns:
        xml.add_testsuite(_suite(report, column))
    if report.faults:
        whole = TestSuite("the whole run")
        whole.add_testcases([_fault(text, report.state) for text in report.faults])
        xml.add_testsuite(whole)
    out: bytes = xml.tostring()  # type: ignore[no-untyped-call]
    return out


def _suite(report: Report, column: Column) -> TestSuite:
    suite = TestSuite(_clean(column.label))
    for name, version in column.facts.versions.items():
        suite.add_property(_clean(name), _clean(version))
    cases = []
    for record in column.cases.values():
        requirement = report.requirements.get(record.requirement)
        cases.append(_case(record, requirement.sentence if requirement else ""))
    for line in column.in_flight:
        case = TestCase(_clean(line.id), classname=_clean(line.requirement))
        case.result = [Error("the case began and did not end", "in flight")]
        cases.append(case)
    suite.add_testcases(cases)
    return suite


def _fault(text: str, state: str) -> TestCase:
    case = TestCase(_clean(text), classname="touchstone")
    case.result = [Error(_clean(text), state)]
    return case


def _case(record: EndLine, sentence: str) -> TestCase:
    case = TestCase(_clean(record.id), classname=_clean(record.requirement), time=record.duration)
    if record.verdict in RED:
        failure = Failure(_clean(f"{record.verdict}: {record.behaviour}"), record.verdict)
        failure.text = _clean(explain(record, sentence))
        case.result = [failure]
    elif record.verdict != "conforms":
        case.result = [Skipped(_clean(f"{record.verdict}: {record.note or record.behaviour}"), record.verdict)]
    return case


def _clean(text: str) -> str:
    return _NOT_XML.sub("\ufffd", text)
