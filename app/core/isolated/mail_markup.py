"""What the HTML of a mail that somebody wrote may hold: nothing that runs, and nothing that is fetched."""

from collections.abc import Iterator
from html.parser import HTMLParser

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


class Markup(HTMLParser):
    """The elements of a text, in order."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str]]] = []

    @classmethod
    def of(cls, html: str) -> "Markup":
        """The elements of this text."""
        made = cls()
        made.feed(html)
        made.close()
        return made

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note the element."""
        self.elements.append((tag, {name: value or "" for name, value in attrs}))


def faults(markup: Markup) -> Iterator[str]:
    """What is not allowed, in words."""
    for tag, attributes in markup.elements:
        if tag not in TAGS:
            yield f"<{tag[:40]}> is not allowed in a mail"
        for name, value in attributes.items():
            if name not in ATTRIBUTES:
                yield f"the attribute {name[:40]} is not allowed in a mail"
            elif name in ("href", "cite") and not value.strip().lower().startswith(SCHEMES):
                yield f"a link begins with one of {', '.join(SCHEMES)}"
            elif name == "style" and any(word in value.lower() for word in FETCHING):
                yield "a style fetches nothing"
