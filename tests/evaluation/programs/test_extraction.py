"""Programs in answers of many forms, against a second extractor that was written without a look at the first.

The second one tries every run of lines, the longest first, and for what goes on from a prompt cuts where HumanEval's
samples were cut: at the texts that end a function's body.
"""

import ast
import json
import textwrap
from collections.abc import Callable
from typing import Any

import pytest

from omsweep.evaluation.programs.extraction import cpp_function, python_function, python_lines
from omsweep.evaluation.settings import TAX_SUITES

SAMPLES = TAX_SUITES["paper"] / "samples"
DOCS = [json.loads(line) for line in (SAMPLES / "paper_humaneval.jsonl").read_text().splitlines()]
Doc = dict[str, Any]


def _whole(doc: Doc) -> str:
    return str(doc["prompt"] + doc["canonical_solution"])


def _body(doc: Doc) -> str:
    return str(doc["canonical_solution"])


def _fenced(code: str, word: str = "python", mark: str = "```") -> str:
    return f"{mark}{word}\n{code}\n{mark}"


def _tabs(code: str) -> str:
    return code.replace("    ", "\t")


def _usage(doc: Doc) -> str:
    return f"print({doc['entry_point']}(1))\n"


FORMS: dict[str, Callable[[Doc], str]] = {
    "fenced": lambda doc: _fenced(_whole(doc)),
    "fenced, no word": lambda doc: _fenced(_whole(doc), ""),
    "fenced, py": lambda doc: _fenced(_whole(doc), "py"),
    "fenced, capital": lambda doc: _fenced(_whole(doc), "Python3"),
    "four marks": lambda doc: _fenced(_whole(doc), "python", "````"),
    "tildes": lambda doc: _fenced(_whole(doc), "python", "~~~"),
    "prose around": lambda doc: (
        f"Sure! This does it:\n\n{_fenced(_whole(doc))}\n\nIt looks at each value from left to right."
    ),
    "then usage": lambda doc: f"{_fenced(_whole(doc))}\n\nFor example:\n\n{_fenced(_usage(doc))}\n\nprints a value.",
    "usage first": lambda doc: f"It is called so:\n\n{_fenced(_usage(doc))}\n\nwith\n\n{_fenced(_whole(doc))}",
    "shell first": lambda doc: f"{_fenced('pip install numpy', 'bash')}\n\n{_fenced(_whole(doc))}",
    "output last": lambda doc: f"{_fenced(_whole(doc))}\n\nOutput:\n\n{_fenced('def nothing', 'text')}",
    "open fence": lambda doc: f"Here:\n```python\n{_whole(doc)}",
    "carriage returns": lambda doc: _fenced(_whole(doc)).replace("\n", "\r\n"),
    "tabs": lambda doc: _fenced(_tabs(_whole(doc))),
    "in a list": lambda doc: f"1. First:\n\n{textwrap.indent(_fenced(_whole(doc)), '   ')}\n\n2. Done.",
    "unfenced": _whole,
    "unfenced, prose before": lambda doc: f"The function is:\n\n{_whole(doc)}",
    "unfenced, prose around": lambda doc: f"The function is:\n\n{_whole(doc)}\n\nIt's quick, isn't it?",
    "unfenced, returns": lambda doc: f"So:\n{_whole(doc)}\nDone!".replace("\n", "\r\n"),
    "with main": lambda doc: _fenced(f"{_whole(doc)}\n\nif __name__ == '__main__':\n    print('hello')\n"),
    "helper above": lambda doc: _fenced(f"import math\n\n\ndef helper(x):\n    return x\n\n\n{_whole(doc)}"),
    "from the future": lambda doc: _fenced(f"from __future__ import annotations\n\n{_whole(doc)}"),
    "no docstring": lambda doc: (
        _fenced(doc["prompt"].split('    """')[0] + _body(doc))
        if doc["prompt"].count('"""') == 2
        else _fenced(_whole(doc))
    ),
    "body": _body,
    "body, then more": lambda doc: f"{_body(doc)}\n\nprint('done')\n",
    "body, then a function": lambda doc: f"{_body(doc)}\n\ndef other():\n    return 1\n",
    "body, then a comment": lambda doc: f"{_body(doc)}\n# That is all.\n",
    "body, fenced": lambda doc: _fenced(_body(doc)),
    "body, fenced, prose": lambda doc: f"The body:\n{_fenced(_body(doc))}\nas you see",
}
"""How an answer can hold a program."""
FIRST_LINES_LOST: dict[str, Callable[[Doc], str]] = {
    "body without its first spaces": lambda doc: _body(doc).strip(),
    "body without spaces": lambda doc: textwrap.dedent(_body(doc)),
    "body without spaces, fenced": lambda doc: _fenced(textwrap.dedent(_body(doc))),
    "body with tabs": lambda doc: _tabs(_body(doc)),
}
"""What HumanEval's own cut does not mend: the second extractor has no say."""
NOTHING: dict[str, Callable[[Doc], str]] = {
    "empty": lambda doc: "",
    "prose": lambda doc: f"I cannot say what {doc['entry_point']} should do.",
    "usage only": lambda doc: _fenced(_usage(doc)),
    "another function": lambda doc: _fenced("def something_else(x):\n    return x\n"),
    "broken": lambda doc: _fenced(f"def {doc['entry_point']}(:\n    return"),
}
"""Answers without the program."""


def second(answer: str, doc: Doc) -> str:
    """The second extractor."""
    text = answer.replace("\r\n", "\n")
    lines = text.expandtabs(4).split("\n")
    spans = sorted(((b - a, a, b) for a in range(len(lines)) for b in range(a + 1, len(lines) + 1)), reverse=True)
    for _, start, end in spans:
        run = textwrap.dedent("\n".join(lines[start:end]))
        if f"def {doc['entry_point']}(" in run and _function(run, doc) is not None:
            return run
    fence = text.split("```")
    body = fence[1].split("\n", 1)[1] if len(fence) > 1 else text
    for stop in ("\nclass", "\ndef", "\n#", "\nif", "\nprint"):
        body = body.split(stop)[0]
    whole = doc["prompt"] + body
    return whole if _function(whole, doc) is not None else ""


def _function(code: str, doc: Doc) -> str | None:
    """The function of that name as its tree, without docstring; None for none."""
    try:
        tree = ast.parse(code)
    except SyntaxError:
        return None
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name == doc["entry_point"]:
            first = node.body[0]
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                node.body.pop(0)
            return ast.dump(node) if node.body else None
    return None


@pytest.mark.parametrize("form", FORMS)
def test_both_extractors_find_the_same_function(form: str) -> None:
    for doc in DOCS:
        answer = FORMS[form](doc)
        found = python_function(answer, doc["entry_point"], doc["prompt"])
        wanted = _function(_whole(doc), doc)
        assert _function(found, doc) == _function(second(answer, doc), doc) == wanted, answer
    assert len(FORMS) * len(DOCS) >= 50


@pytest.mark.parametrize("form", FIRST_LINES_LOST)
def test_a_body_that_lost_its_indentation_is_a_body(form: str) -> None:
    for doc in DOCS:
        found = python_function(FIRST_LINES_LOST[form](doc), doc["entry_point"], doc["prompt"])
        assert _function(found, doc) == _function(_whole(doc), doc), FIRST_LINES_LOST[form](doc)


@pytest.mark.parametrize("form", NOTHING)
def test_an_answer_without_the_function_has_no_program(form: str) -> None:
    for doc in DOCS:
        answer = NOTHING[form](doc)
        assert python_function(answer, doc["entry_point"], doc["prompt"]) == second(answer, doc) == ""


def test_what_the_prompt_imports_and_defines_is_kept() -> None:
    doc = next(doc for doc in DOCS if doc["entry_point"] == "twice_encoded")
    answer = _fenced("def twice_encoded(word: str) -> str:\n    return shift(shift(word))")
    space: dict[str, Any] = {}
    exec(python_function(answer, "twice_encoded", doc["prompt"]), space)
    assert space["twice_encoded"]("az") == "cb"


def official_ds1000(answer: str) -> str:
    """What DS-1000's own script cuts out of an answer, told from its description: up to the marks that end one."""
    text = answer.split("</code>")[0].replace("```python", "").split("```")[0].split("\nEND SOLUTION")[0]
    return text.replace("<code>", "")


LINES = [
    "result = a.mean()",
    "df = df[df.n > 1]\ndf = df.dropna()",
    "    return x + 1",
    "if a.any():\n    result = 1\nelse:\n    result = 0",
]
LINE_FORMS: dict[str, Callable[[str], str]] = {
    "as they are": lambda code: code,
    "a last line end": lambda code: code + "\n",
    "fenced": lambda code: _fenced(code),
    "fenced, open": lambda code: f"```python\n{code}",
    "fenced, prose after": lambda code: f"{_fenced(code)}\nThis is the mean.",
    "code tag closed": lambda code: f"{code}\n</code>\nEND SOLUTION",
    "code tags": lambda code: f"<code>\n{code}\n</code>",
    "end of solution": lambda code: f"{code}\nEND SOLUTION\nmore",
    "code tags, fenced": lambda code: f"<code>\n```python\n{code}\n```\n</code>",
    "tags and prose": lambda code: f"<code>\n{code}\n</code>\nwhich is what you want",
    "end after a fence": lambda code: f"{_fenced(code)}\nEND SOLUTION",
    "comment at the end": lambda code: f"{code}  # done\n</code>",
    "two blocks": lambda code: f"{_fenced(code)}\nor\n{_fenced('pass')}",
}


@pytest.mark.parametrize("form", LINE_FORMS)
def test_lines_to_insert_are_those_of_the_official_script(form: str) -> None:
    for code in LINES:
        answer = LINE_FORMS[form](code)
        assert python_lines(answer).strip("\n").rstrip() == official_ds1000(answer).strip("\n").rstrip()
        assert code in python_lines(answer)
    assert len(LINE_FORMS) * len(LINES) >= 50


def test_lines_behind_prose_are_found_where_the_official_script_takes_the_prose() -> None:
    answer = f"You need this:\n\n{_fenced('    return 1')}\n"
    assert python_lines(answer) == "    return 1\n"
    assert "You need" in official_ds1000(answer)
    assert python_lines("```python\nresult = 1\r\n```".replace("\n", "\r\n")).strip() == "result = 1"


CPP_DOCS = [json.loads(line) for line in (SAMPLES / "paper_codeapex.jsonl").read_text().splitlines()]
CPP_FORMS: dict[str, Callable[[str, str], str]] = {
    "fenced": lambda code, context: _fenced(code, "cpp"),
    "fenced, c++": lambda code, context: _fenced(code, "c++"),
    "prose around": lambda code, context: f"Here it is:\n{_fenced(code, 'cpp')}\nIt works.",
    "unfenced": lambda code, context: code,
    "unfenced, prose around": lambda code, context: f"The function is:\n\n{code}\n\nIt takes the input as it is.",
    "whole program": lambda code, context: _fenced(
        context.replace("// function start", f"// function start\n{code}"), "cpp"
    ),
    "own main": lambda code, context: _fenced(
        f"{code}\nint main() {{\n  if (1) {{ return 0; }}\n  return 1;\n}}", "cpp"
    ),
    "includes": lambda code, context: _fenced(f"#include <iostream>\nusing namespace std;\n\n{code}", "cpp"),
    "carriage returns": lambda code, context: _fenced(code, "cpp").replace("\n", "\r\n"),
    "open fence": lambda code, context: f"```cpp\n{code}",
}


@pytest.mark.parametrize("form", CPP_FORMS)
def test_a_c_plus_plus_function_is_found_without_its_main(form: str) -> None:
    for doc in CPP_DOCS:
        code = doc["reference"].split("```cpp\n")[1].split("\n```")[0]
        name = doc["function_declaration"].split("(")[0].split()[-1]
        found = cpp_function(CPP_FORMS[form](code, doc["code_context"]), name)
        # spaces apart, it is the function, with at most includes above it
        assert "".join(found.split()).endswith("".join(code.split())), found
        assert "main" not in found
        assert "calling start" not in found
    assert cpp_function("I do not know.", "add") == cpp_function("```cpp\nint other() { return 1; }\n```", "add") == ""
