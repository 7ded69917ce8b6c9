"""What the HTML of a mail that somebody wrote may hold: nothing that runs, and nothing that is fetched."""

import re
from collections.abc import Iterator
from html import unescape

TAGS = frozenset(
    (
        *("a", "abbr", "address", "b", "blockquote", "br", "caption", "center", "cite", "code", "col"),
        *("colgroup", "dd", "del", "div", "dl", "dt", "em", "font", "h1", "h2", "h3", "h4", "h5", "h6"),
        *("hr", "i", "ins", "kbd", "li", "ol", "p", "pre", "q", "s", "small", "span", "strong", "sub"),
        *("sup", "table", "tbody", "td", "tfoot", "th", "thead", "time", "tr", "u", "ul", "var", "wbr"),
    )
)
"""Elements of text and tables. Images are fetched when a mail is read, and tell that it was."""

ATTRIBUTES = frozenset(
    (
        *("align", "alt", "bgcolor", "border", "cellpadding", "cellspacing", "cite", "class", "color"),
        *("colspan", "datetime", "dir", "face", "height", "href", "lang", "role", "rowspan", "scope"),
        *("size", "start", "style", "target", "rel", "title", "type", "valign", "value", "width"),
    )
)

SCHEMES = ("https://", "http://", "mailto:", "tel:")
FETCHING = ("url(", "@import", "expression(", "image(", "image-set(", "\\")
"""What a style cannot say: it would fetch something, or hide by escapes that it does."""

ATTRIBUTE = r"""\s++([a-z-]++)(?:\s*+=\s*+("[^"]*+"|'[^']*+'|[^\s"'<>=`]++))?+"""
TAG = re.compile(rf"<(?:/([a-z0-9]++)\s*+|([a-z0-9]++)((?:{ATTRIBUTE})*+)\s*+/?)>", re.IGNORECASE)
"""The one form of a tag that every mail program reads in the same way."""

EACH_ATTRIBUTE = re.compile(ATTRIBUTE, re.IGNORECASE)


def faults(html: str) -> Iterator[str]:
    """What is not allowed, in words.

    Comments, and whatever begins like a tag and is none, are refused: mail programs disagree on where such
    things end, and some read what stands in comments.
    """
    at = html.find("<")
    while at >= 0:
        tag = TAG.match(html, at)
        if tag is None:
            yield f"{html[at : at + 20]!r} is no tag: write &lt; for the sign, and leave out comments"
            return
        closing, opening, attributes = tag.group(1, 2, 3)
        name = (opening or closing).lower()
        if name not in TAGS:
            yield f"<{name[:40]}> is not allowed in a mail"
        yield from _faults_of_attributes(attributes or "")
        at = html.find("<", tag.end())


def _faults_of_attributes(attributes: str) -> Iterator[str]:
    seen = set()
    for attribute in EACH_ATTRIBUTE.finditer(attributes):
        name = attribute.group(1).lower()
        value = unescape((attribute.group(2) or "").strip("\"'")).strip().lower()
        if name in seen:
            yield f"the attribute {name[:40]} stands there twice"
        seen.add(name)
        if name not in ATTRIBUTES:
            yield f"the attribute {name[:40]} is not allowed in a mail"
        elif name in ("href", "cite") and not value.startswith(SCHEMES):
            yield f"a link begins with one of {', '.join(SCHEMES)}"
        elif name == "style" and any(word in value for word in FETCHING):
            yield "a style fetches nothing"
