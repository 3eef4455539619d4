"""Validations as JUnit XML."""

import io
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

from mmoe_embed.errors import ToolkitError
from mmoe_embed.validate import Report
from mmoe_embed.whole_file import write_whole

EndedBy = ToolkitError | KeyboardInterrupt


def write_junit(file: Path, suite: str, report: Report | None, error: EndedBy | None = None) -> None:
    """One validation, see `make_suite`."""
    _write(file, make_suite(suite, report, error))


def write_suites(file: Path, suites: Sequence[ElementTree.Element]) -> None:
    """Several validations in one file."""
    root = ElementTree.Element("testsuites")
    root.extend(suites)
    _write(file, root)


def make_suite(suite: str, report: Report | None, error: EndedBy | None = None) -> ElementTree.Element:
    """One test case a check; an error that ended the validation is a case of its own."""
    checks = report.checks if report else ()
    root = ElementTree.Element(
        "testsuite",
        name=suite,
        tests=str(len(checks) + (error is not None)),
        failures=str(sum(not check.ok for check in checks)),
        errors=str(int(error is not None)),
    )
    if report:
        properties = ElementTree.SubElement(root, "properties")
        for name in ("board", "model_id", "build_id", "firmware_version"):
            ElementTree.SubElement(properties, "property", name=name, value=_clean(str(getattr(report.identity, name))))
    for check in checks:
        case = ElementTree.SubElement(root, "testcase", classname=suite, name=check.name)
        if not check.ok:
            ElementTree.SubElement(case, "failure", message=_clean(check.detail))
        else:
            ElementTree.SubElement(case, "system-out").text = _clean(check.detail)
    if error is not None:
        case = ElementTree.SubElement(root, "testcase", classname=suite, name="validation runs to its end")
        ElementTree.SubElement(case, "error", message=_clean(str(error) or "interrupted"))
    return root


def _write(file: Path, root: ElementTree.Element) -> None:
    ElementTree.indent(root)
    out = io.BytesIO()
    ElementTree.ElementTree(root).write(out, encoding="utf-8", xml_declaration=True)
    write_whole(file, out.getvalue() + b"\n")


def _clean(text: str) -> str:
    """XML has no place for most control characters."""
    return "".join(c if c.isprintable() or c in "\n\t" else "?" for c in text)
