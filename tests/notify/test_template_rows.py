"""Row C06 of the catalogue: what a mail says is never a template."""
# ruff: noqa: N802 (rows have capital names)

import ast
from pathlib import Path

GATEWAY = Path(__file__).resolve().parents[2] / "gateway"


def test_C06_no_template_is_made_from_a_string():
    files = sorted(GATEWAY.rglob("*.py"))
    assert len(files) > 50
    named = [
        f"{path}:{node.lineno}"
        for path in files
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if (isinstance(node, ast.Attribute) and node.attr == "from_string")
        or (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Template")
    ]
    assert named == []
