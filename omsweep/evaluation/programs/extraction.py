"""The program in a chat model's answer. Text only: nothing is run here."""

import ast
import re
import textwrap
from collections.abc import Iterator

_FENCE = re.compile(
    r"^[ \t]*(?P<mark>```+|~~~+)[ \t]*(?P<language>[\w+#.-]*)[^\n]*\n(?P<code>.*?)(?:^[ \t]*(?P=mark)|\Z)",
    re.MULTILINE | re.DOTALL,
)
_OTHERS = ("bash", "sh", "shell", "console", "text", "txt", "json", "output", "plaintext")
"""Words behind a fence that say that a block is no program."""
_TAGS = re.compile(r"<code>\n?(.*?)(?:</code>|\Z)", re.S)
_STARTS = re.compile(r"(?:def|async def|class|from|import|@)\b|@")
_FUTURE = re.compile(r"^from __future__ import .*\n?", re.M)
_MAIN = re.compile(r"^[ \t]*(?:int|void|auto|signed)[ \t\n]+main[ \t]*\([^)]*\)[^{;]*\{", re.M)
_MARKED = re.compile(r"//[ \t]*function start[^\n]*\n(.*?)//[ \t]*function end", re.S)
_CPP_STARTS = re.compile(
    r"(?:#include|#define|using |template|struct |class |typedef |namespace |static |const |//|/\*)"
)


def plain(answer: str) -> str:
    """With line ends of one kind."""
    return answer.replace("\r\n", "\n").replace("\r", "\n")


def blocks(answer: str) -> list[str]:
    """Fenced blocks that may be programs, in order, less the indentation of their fence; the last may be open."""
    found = [match for match in _FENCE.finditer(plain(answer)) if match["language"].lower() not in _OTHERS]
    return [textwrap.dedent(match["code"]) if _indented(match) else match["code"] for match in found]


def _indented(match: re.Match[str]) -> bool:
    return match[0][0] in " \t"


def python_function(answer: str, entry_point: str, prompt: str = "") -> str:
    """The module that an answer makes with its prompt; empty where no such function is in it.

    The first of these that is Python and defines `entry_point`: a fenced block; the answer's lines from one that
    starts a definition or import, as far as they are Python; what goes on from the prompt (the function's body), fenced
    or not, indented or not, as far as it is indented.

    Args:
        answer: the model's.
        entry_point: the function's name.
        prompt: imports, helpers, signature and docstring that were given; what is above the signature is kept.
    """
    fenced = blocks(answer)
    above = _above(prompt, entry_point)
    for code in (*fenced, "\n".join(fenced), *_runs_of_code(plain(answer))):
        for text in (code, code.expandtabs(4)):
            if _defines(text, entry_point):
                return _with(above, text)
    if prompt:
        for code in fenced or [plain(answer)]:
            for body in _bodies(code):
                if _defines(whole := prompt.rstrip() + "\n" + body, entry_point, longer=True):
                    return whole
    return ""


def _above(prompt: str, entry_point: str) -> str:
    match = re.search(rf"^(?:async )?def {re.escape(entry_point)}\b", prompt, re.M)
    return prompt[: match.start()] if match else ""


def _with(above: str, code: str) -> str:
    futures = "".join(line if line.endswith("\n") else line + "\n" for line in _FUTURE.findall(code))
    return futures + above + _FUTURE.sub("", code)


def _runs_of_code(text: str) -> Iterator[str]:
    """From each line that may start a module, the most lines that are one."""
    lines = text.split("\n")
    starts = [number for number, line in enumerate(lines) if _STARTS.match(line)]
    for start in starts[:20]:
        if (run := _longest(lines[start:])) is not None:
            yield run


def _longest(lines: list[str]) -> str | None:
    """The longest run of these lines, from the first, that is Python and ends where a line is not indented."""
    ends = [n for n in range(len(lines), 0, -1) if n == len(lines) or not lines[n].startswith((" ", "\t"))]
    for end in ends[:200]:
        if _tree(text := "\n".join(lines[:end])) is not None:
            return text + "\n"
    return None


def _bodies(code: str) -> Iterator[str]:
    """A text as the body of a function: as it is; where its first line is not indented, with all or that one moved."""
    text = code.expandtabs(4).strip("\n")
    yield _while_indented(text)
    if not text.startswith(" "):
        every = textwrap.indent(text, "    ") + "\n"
        yield from (body for body in (every, _while_indented("    " + text)) if _returns(body))


def _returns(body: str) -> bool:
    """Whether a body gives something back: prose and calls of the function do not."""
    tree = _tree("def function():\n" + body)
    left: list[ast.AST] = list(tree.body[0].body) if tree and isinstance(tree.body[0], ast.FunctionDef) else []
    while left:
        node = left.pop()
        if isinstance(node, ast.Return | ast.Yield | ast.YieldFrom):
            return True
        if not isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Lambda):
            left += ast.iter_child_nodes(node)
    return False


def _while_indented(text: str) -> str:
    lines = text.split("\n")
    ends = (number for number, line in enumerate(lines) if line.strip() and not line.startswith(" "))
    return "\n".join(lines[: next(ends, len(lines))]) + "\n"


def _tree(code: str) -> ast.Module | None:
    try:
        return ast.parse(code)
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return None


def _defines(code: str, name: str, longer: bool = False) -> bool:
    """Whether code is Python that gives a name at its top level; `longer`: a function of more than a docstring."""
    tree = _tree(code)
    for node in tree.body if tree else ():
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and node.name == name:
            return not longer or len(node.body) > 1 or not isinstance(node.body[0], ast.Expr)
        targets = node.targets if isinstance(node, ast.Assign) else []
        if any(isinstance(target, ast.Name) and target.id == name for target in targets):
            return True
    return False


def python_lines(answer: str) -> str:
    """Lines to be put into a given program (DS-1000): the first fenced block, else what is between `<code>` tags, else
    the answer, up to where it says that the solution ends."""
    fenced = blocks(answer)
    tagged = _TAGS.findall(plain(answer))
    text = fenced[0] if fenced else tagged[0] if tagged else plain(answer)
    text = text.replace("<code>", "").split("</code>")[0]
    return re.split(r"^\s*(?:#\s*)?(?:END SOLUTION|SOLUTION END)", text, maxsplit=1, flags=re.M)[0]


def cpp_function(answer: str, name: str) -> str:
    """The C++ above or below a given `main`: includes, helpers and the function; empty where its name is nowhere.

    It is the first fenced block with the name, else the answer from its first line of C++ to its last brace. What lies
    between the marks of a repeated program is taken alone, and an own `main` is left out.
    """
    called = re.compile(rf"\b{re.escape(name)}\s*\(")
    fenced = [code for code in blocks(answer) if called.search(code)]
    text = fenced[0] if fenced else _cpp_lines(plain(answer), called)
    marked = _MARKED.search(text)
    if marked and called.search(marked[1]):
        text = marked[1]
    text = _without_main(text)
    return text if called.search(text) else ""


def _cpp_lines(text: str, called: re.Pattern[str]) -> str:
    lines = text.split("\n")
    signed = (called.search(line) and "{" in "".join(lines[n : n + 2]) for n, line in enumerate(lines))
    starts = (n for n, (line, own) in enumerate(zip(lines, signed, strict=True)) if own or _CPP_STARTS.match(line))
    run = "\n".join(lines[next(starts, len(lines)) :])
    return run[: run.rfind("}") + 1] + "\n"


def _without_main(text: str) -> str:
    match = _MAIN.search(text)
    if match is None:
        return text
    depth, end = 1, match.end()
    while end < len(text) and depth:
        depth += {"{": 1, "}": -1}.get(text[end], 0)
        end += 1
    return text[: match.start()] + text[end:]
