"""Renders the texts of mails: Jinja in a sandbox, without anything that a text does not need.

What people wrote is rendered by `render` in the child process, which bounds its time and its memory.
"""

import resource
import signal
from collections.abc import Iterator, Mapping
from functools import lru_cache
from types import FrameType
from typing import Any

from jinja2 import Environment, StrictUndefined, Template, TemplateSyntaxError, UndefinedError, nodes
from jinja2.exceptions import SecurityError
from jinja2.sandbox import ImmutableSandboxedEnvironment
from markupsafe import Markup

from app.core.isolated.mail_markup import faults

LARGEST = 256 * 1024
"""Bytes of subject, text and HTML together."""

SECONDS = 1.0
MEMORY = 384 * 1024 * 1024

FORBIDDEN = (
    nodes.Include,
    nodes.Import,
    nodes.FromImport,
    nodes.Extends,
    nodes.Macro,
    nodes.CallBlock,
    nodes.Block,
    nodes.ScopedEvalContextModifier,
)
"""No other texts, nothing that calls itself, and no end of the escaping (`autoescape`)."""

TEMPLATE_FILE = "<template>"
"""What tracebacks name a template that came from a string."""


class Refused(Exception):
    """A text cannot be used: which part, in which line if one is known, and why."""

    def __init__(self, part: str, line: int | None, code: str, why: str) -> None:
        super().__init__(f"{part}: {why}")
        self.part, self.line, self.code, self.why = part, line, code, why


class _TooSlow(BaseException):
    """The time is over. No `Exception`, so that nothing on the way takes it for a fault of a template."""


def environment(*, is_html: bool) -> Environment:
    """An environment without functions; values are escaped in HTML, and no text may say otherwise."""
    made = ImmutableSandboxedEnvironment(undefined=StrictUndefined, autoescape=is_html)
    made.globals.clear()
    # What buyers write of themselves would be read as markup.
    del made.filters["safe"]
    return made


_PLAIN = environment(is_html=False)
_HTML = environment(is_html=True)


def render(
    *,
    parts: dict[str, str],
    variables: dict[str, str],
    essential: list[str],
    layouts: dict[str, str],
    frame: dict[str, str],
) -> dict[str, Any]:
    """The task: `{"subject", "html", "text"}`, or `{"refused": {"part", "line", "code", "why"}}`."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    signal.signal(signal.SIGPROF, _stop)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        judge(parts, frozenset(variables), essential)
        mail = render_parts(parts, variables, layouts, frame)
        if fault := next(faults(_filled("html", parts["html"], variables)), None):
            raise Refused("html", None, "markup", fault)
    except Refused as refusal:
        return {"refused": vars(refusal)}
    except _TooSlow:
        return {"refused": vars(Refused("html", None, "too_slow", "rendering takes longer than a second"))}
    except MemoryError:
        return {"refused": vars(Refused("html", None, "too_large", "rendering needs too much memory"))}
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    return mail


def judge(parts: Mapping[str, str], known: frozenset[str], essential: list[str]) -> None:
    """Refuse what can be seen without rendering: syntax, unknown names, statements that are not for texts."""
    for part, source in parts.items():
        named = set()
        try:
            tree = _environment(part).parse(source)
        except TemplateSyntaxError as error:
            raise Refused(part, error.lineno, "syntax_error", str(error.message)) from None
        except RecursionError:
            raise Refused(part, None, "syntax_error", "it is nested too deeply") from None
        for node in tree.find_all(FORBIDDEN):
            raise Refused(part, node.lineno, "not_allowed", f"{type(node).__name__.lower()} is not allowed")
        names = list(tree.find_all(nodes.Name))
        own = {name.name for name in names if name.ctx != "load"}
        for name in names:
            if name.ctx == "load" and name.name not in known | own | {"loop"}:
                raise Refused(part, name.lineno, "unknown_variable", f"there is no variable {name.name}")
            named.add(name.name)
        if part != "subject" and (missing := [name for name in essential if name not in named]):
            raise Refused(part, None, "missing_variable", f"it must name {', '.join(missing)}")


def render_parts(
    parts: Mapping[str, str],
    variables: Mapping[str, str],
    layouts: Mapping[str, str],
    frame: Mapping[str, str],
) -> dict[str, str]:
    """Subject, and text and HTML in their layouts, which know the variables of `frame`; Refused."""
    subject = _filled("subject", parts["subject"], variables).strip()
    # Headers are split wherever Python splits lines, so at more than CR and LF.
    if len(subject.splitlines()) > 1:
        raise Refused("subject", None, "line_break", "a subject has no line break")
    if not subject:
        raise Refused("subject", None, "empty", "a subject is not empty")
    mail = {"subject": subject}
    for part, layout in layouts.items():
        content = Markup(_filled(part, parts[part], variables))  # noqa: S704 - its values are escaped
        mail[part] = _compiled(part, layout).render(frame, subject=subject, content=content)
    if sum(len(part.encode()) for part in mail.values()) > LARGEST:
        raise Refused("html", None, "too_large", f"the mail is larger than {LARGEST} bytes")
    return mail


def _environment(part: str) -> Environment:
    return _HTML if part == "html" else _PLAIN


@lru_cache(maxsize=512)
def _compiled(part: str, source: str) -> Template:
    """The part, ready to be filled in; the files of the repository are compiled once per process."""
    return _environment(part).from_string(source)


def _filled(part: str, source: str, variables: Mapping[str, str]) -> str:
    """A part with its variables, given up as soon as it is too large."""
    pieces: list[str] = []
    size = 0
    try:
        for piece in _compiled(part, source).generate(variables):
            size += len(piece)
            if size > LARGEST:
                raise Refused(part, None, "too_large", f"it is larger than {LARGEST} bytes")
            pieces.append(piece)
    except (Refused, MemoryError):
        raise
    except TemplateSyntaxError as error:
        raise Refused(part, error.lineno, "syntax_error", str(error.message)) from None
    except UndefinedError as error:
        raise Refused(part, _line(error), "unknown_variable", str(error.message)) from None
    except SecurityError as error:
        raise Refused(part, _line(error), "unsafe_access", str(error)) from None
    except Exception as error:  # A filter raises whatever it likes for values that it cannot work with.
        raise Refused(part, _line(error), "failed", f"{type(error).__name__}: {error}"[:200]) from None
    return "".join(pieces)


def _line(error: Exception) -> int | None:
    """The last line of the template that the traceback names."""
    lines = [line for name, line in _frames(error) if name == TEMPLATE_FILE]
    return lines[-1] if lines else None


def _frames(error: Exception) -> Iterator[tuple[str, int]]:
    at = error.__traceback__
    while at is not None:
        yield at.tb_frame.f_code.co_filename, at.tb_lineno
        at = at.tb_next


def _stop(_signal: int, _frame: FrameType | None) -> None:
    raise _TooSlow
