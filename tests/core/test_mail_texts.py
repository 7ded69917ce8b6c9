"""The renderer of written texts: what it refuses, and that nothing it is given costs more than it may."""

import asyncio
import tempfile
from pathlib import Path
from typing import Any

import pytest

from app.core.isolated.mail_markup import faults
from app.core.isolated.mail_texts import Refused, judge, render_parts
from app.core.isolation import TaskFailed, run_isolated

GOOD = {"subject": "Hi {{ name }}", "html": "<p>{{ name }}</p>", "text": "Hi {{ name }}"}
LAYOUTS = {"html": "<i>{{ content }}</i>", "text": "{{ content }}"}
FRAME = {"locale": "en", "manage_url": ""}


def refusal_of(**parts: str) -> Refused:
    """What is wrong with these parts, seen without a process of its own."""
    given = {**GOOD, **parts}
    with pytest.raises(Refused) as refusal:
        _judge_and_render(given)
    return refusal.value


def _judge_and_render(parts: dict[str, str]) -> None:
    judge(parts, frozenset({"name"}), [])
    render_parts(parts, {"name": "Zoé"}, LAYOUTS, FRAME)


async def isolated(**parts: str) -> dict[str, Any]:
    """The report of the child process."""
    return await run_isolated(
        "mails.render",
        Path(tempfile.gettempdir()),
        {
            "parts": {**GOOD, **parts},
            "variables": {"name": "Zoé <b>"},
            "essential": [],
            "layouts": LAYOUTS,
            "frame": FRAME,
        },
        cpu_seconds=2,
    )


async def test_mail_when_the_texts_are_good() -> None:
    assert await isolated() == {
        "subject": "Hi Zoé <b>",
        "html": "<i><p>Zoé &lt;b&gt;</p></i>",
        "text": "Hi Zoé <b>",
    }


@pytest.mark.parametrize(
    ("part", "source", "code", "line"),
    [
        ("html", "\n{{ nobody }}", "unknown_variable", 2),
        ("text", "\n\n{% if %}", "syntax_error", 3),
        ("html", "{% include 'x' %}", "not_allowed", 1),
        ("html", "{% import 'x' as y %}", "not_allowed", 1),
        ("html", "{% from 'x' import y %}", "not_allowed", 1),
        ("html", "{% extends 'x' %}", "not_allowed", 1),
        ("html", "\n{% macro m() %}{% endmacro %}", "not_allowed", 2),
        ("html", "{% block b %}{% endblock %}", "not_allowed", 1),
        ("html", "\n{% autoescape false %}{{ name }}{% endautoescape %}", "not_allowed", 2),
        ("html", "\n{{ name | safe }}", "syntax_error", 2),
        ("html", "{{ [name] | map('safe') | first }}", "failed", 1),
        ("html", "{{ name.__class__ }}", "unsafe_access", 1),
        ("html", "{{ ''['__class__'] }}", "unsafe_access", 1),
        ("html", "{{ '{0.__class__}'.format(name) }}", "unsafe_access", 1),
        ("html", "{{ range(9) }}", "unknown_variable", 1),
        ("html", "{{ cycler('a') }}", "unknown_variable", 1),
        ("html", "\n{{ 1 / 0 }}", "failed", 2),
        ("html", "{% for a in name * 90000 %}{{ 'bbbbbbbbbb' }}{% endfor %}", "too_large", None),
        ("subject", "a\nb", "line_break", None),
        ("subject", "a\u2028b", "line_break", None),
        ("subject", "{{ 'a\\x85b' }}", "line_break", None),
        ("subject", "  ", "empty", None),
        ("html", "{{ " + "(" * 4000 + "1" + ")" * 4000 + " }}", "syntax_error", None),
    ],
)
def test_text_when_it_is_not_good(part: str, source: str, code: str, line: int | None) -> None:
    refusal = refusal_of(**{part: source})
    assert (refusal.part, refusal.code, refusal.line) == (part, code, line)


def test_text_when_what_it_is_about_is_not_named() -> None:
    with pytest.raises(Refused, match="action_url"):
        judge(GOOD, frozenset({"name", "action_url"}), ["action_url"])


def test_subject_when_a_value_has_a_line_break() -> None:
    with pytest.raises(Refused, match="line break"):
        render_parts(GOOD, {"name": "Zoé\r\nBcc: x@y.example"}, LAYOUTS, FRAME)


COSTLY = {
    "memory": "{{ 'a' * 10 ** 9 }}",
    "padding": "{{ 'a' | center(10 ** 9) }}",
    "loops": "{% for a in 'a' * 90000 %}{% for b in 'a' * 90000 %}{% endfor %}{% endfor %}",
    "number": "{{ 9 ** (9 ** 9) }}",
}


async def test_process_when_texts_would_cost_much() -> None:
    """All of them end, while the event loop goes on."""
    beats = 0

    async def watch() -> None:
        nonlocal beats
        while True:
            await asyncio.sleep(0.02)
            beats += 1

    async def outcome(source: str) -> str:
        try:
            report = await isolated(html=source)
        except TaskFailed:
            return "killed"
        return str(report["refused"]["code"])

    watching = asyncio.create_task(watch())
    found = dict(zip(COSTLY, await asyncio.gather(*map(outcome, COSTLY.values())), strict=True))
    watching.cancel()
    assert set(found.values()) <= {"too_large", "too_slow", "killed"}, found
    # What takes the least ends when its process has begun, and the others need a second and more.
    assert beats > 10


@pytest.mark.parametrize(
    "html",
    [
        "<script>x</script>",
        "<img src='https://a.example/pixel'>",
        "<p onclick='x'>",
        "<a href='javascript:x'>",
        "<a href=' &#106;avascript:x'>",
        "<a href='/relative'>",
        "<iframe src='x'>",
        "<form action='x'>",
        "<link rel='stylesheet' href='https://a.example'>",
        "<style>p{}</style>",
        "<meta http-equiv='refresh'>",
        "<base href='https://a.example'>",
        "<svg/onload=x>",
        "<td background='https://a.example/pixel'>",
        "<p style='background: URL(https://a.example/pixel)'>",
        "<p style='background: u\\72l(https://a.example/pixel)'>",
        "<video poster='https://a.example'>",
        "<p>x</p><img src=https://a.example/pixel ",
        "<!--><img src='https://a.example/pixel'>-->",
        "<!---><img src='https://a.example/pixel'>-->",
        "<!--[if mso]><img src='https://a.example/pixel'><![endif]-->",
        "<![CDATA[><img src='https://a.example/pixel'>]]>",
        "<?x <img src='https://a.example/pixel'>",
        "<!-- the rest of the mail",
        "<a href='javascript:x' href='https://a.example'>",
        "<a href='https://a.example>the rest of the mail",
        "<a href='https://a.example'style='x'>",
        "</img>",
        "a <",
        "<p" * 30_000,
        "<p" + " " * 60_000,
        "<p " + "class " * 10_000,
    ],
    ids=lambda html: html[:40],
)
def test_markup_when_it_runs_or_fetches(html: str) -> None:
    assert list(faults(html))


def test_markup_when_it_is_plain() -> None:
    html = (
        '<table width="100%" style="color:#1a1a1a"><tr><td align="center"><a href="https://a.example">x</a>'
        '<br><a href="MAILTO:a@b.example">y</a></td></tr></table>3 &lt; 4 > 2<hr/>'
    )
    assert list(faults(html)) == []
