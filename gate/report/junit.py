"""`junit.xml`: one test case a rule, for the dashboards that read nothing else."""

from __future__ import annotations

from xml.etree import ElementTree

from gate.report.rows import Row
from gate.report.sentence import headline, plain
from gate.report.text import one_line, visible
from gate.report.view import View
from gate.verdict import Failure, Verdict


def render_junit(result: Verdict | Failure, view: View) -> str:
    """Valid XML 1.0 whatever the result's texts hold. An undecided rule is a failure: it is no pass."""
    seconds = f"{result.cost.total_seconds:.3f}"
    failures, errors = len(view.failing), int(isinstance(result, Failure))
    skipped = len(view.shown)
    totals = {
        "tests": str(len(view.rows) + errors),
        "failures": str(failures),
        "errors": str(errors),
        "skipped": str(skipped),
        "time": seconds,
    }
    root = ElementTree.Element("testsuites", {"name": "ftgate", **totals})
    suite = ElementTree.SubElement(
        root, "testsuite", {"name": one_line(view.subject, 200) or "ftgate", **totals}
    )
    if result.provenance:
        suite.set("timestamp", one_line(result.provenance.created))
    for row in view.rows:
        _case(suite, row, judged=not errors)
    if isinstance(result, Failure):
        case = ElementTree.SubElement(
            suite, "testcase", {"classname": "ftgate", "name": "verdict", "time": "0"}
        )
        message = one_line(result.error.message, 300)
        error = ElementTree.SubElement(
            case, "error", {"type": one_line(result.error.code), "message": message}
        )
        error.text = visible(
            f"{plain(headline(result))}\n{result.error.message}\n{view.trouble and view.trouble.hint}"
        )
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _case(suite: ElementTree.Element, row: Row, *, judged: bool) -> None:
    finding = row.finding
    attributes = {
        "classname": one_line(f"ftgate.{finding.kind}"),
        "name": one_line(finding.rule, 300),
        "time": "0",
    }
    if finding.place.file:
        attributes |= {"file": one_line(finding.place.file, 300), "line": str(finding.place.line)}
    case = ElementTree.SubElement(suite, "testcase", attributes)
    said = f"{row.change} {row.spread} {row.noun}, {row.bound}; base {row.base}, tuned {row.tuned}"
    if finding.slices:
        said = f"{row.name}: {said}"
    if row.settled:
        said += f"; {row.settled}"
    if row.waived:
        said += f"; waived: {row.waived}"
    message = one_line(said, 300)
    if finding.outcome in ("fail", "undecided"):
        failure = ElementTree.SubElement(case, "failure", {"type": finding.outcome, "message": message})
        failure.text = visible("\n".join(filter(None, (said, _noise(row), finding.note))))
    elif finding.outcome == "reported":
        word = "reported, not judged" if judged else "computed before the error, not judged"
        ElementTree.SubElement(case, "skipped", {"message": f"{word}: {message}"})


def _noise(row: Row) -> str:
    return "the change is within benchmark noise" if row.within_noise else ""
