"""What the routes of mail texts take and answer."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, Field

from app.schemas.base import Input, Output, Query, Text, Timestamp

LARGEST_HTML = 64 * 1024
LARGEST_TEXT = 32 * 1024

SHIPPED: dict[str, Any] = {
    "subject": "{{ number }} is on its way",
    "html": "<p>Hello {{ name }},</p><p>{{ items }}</p>"
    '<p><a href="{{ action_url }}">Follow your order</a></p>',
    "text": "Hello {{ name }},\n\n{{ items }}\n\n{{ action_url }}\n",
}


def _at_most(size: int) -> AfterValidator:
    def check(value: str) -> str:
        if len(value.encode()) > size:
            raise ValueError(f"at most {size} bytes")
        return value

    return AfterValidator(check)


Subject = Annotated[Text, Field(min_length=1, max_length=300, description="In one line, as Jinja.")]
Html = Annotated[
    Text,
    _at_most(LARGEST_HTML),
    Field(
        min_length=1,
        max_length=LARGEST_HTML,
        description="The inside of the mail, as Jinja; values are escaped. No images, scripts or forms.",
    ),
]
PlainText = Annotated[
    Text,
    _at_most(LARGEST_TEXT),
    Field(min_length=1, max_length=LARGEST_TEXT, description="The same for those who read no HTML."),
]
SampleName = Annotated[Text, Field(max_length=60)]
SampleValue = Annotated[Text, Field(max_length=2000)]
Samples = Annotated[dict[SampleName, SampleValue], Field(max_length=30)]


class TemplateQuery(Query):
    """Which texts are wanted."""

    key: Text | None = Field(None, max_length=60, description="Only those of this mail.")
    locale: Literal["fr", "en"] | None = Field(None, description="Only those in this language.")


class TemplateWrite(Input):
    """The texts of a mail in one language."""

    model_config = ConfigDict(json_schema_extra={"examples": [SHIPPED]})

    subject: Subject
    html: Html
    text: PlainText


class TemplatePreview(Input):
    """Texts that are tried; what is absent is taken from those in use, and from the sample."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"variables": {"name": "Noé"}}]})

    subject: Subject | None = None
    html: Html | None = None
    text: PlainText | None = None
    variables: Samples = Field(default_factory=dict, description="Values instead of those of the sample.")


class TemplateSummary(Output):
    """A mail in one language."""

    key: str
    locale: Literal["fr", "en"]
    subject: str
    version: int = Field(description="0 for the text that comes with the service.")
    is_overridden: bool = Field(description="Whether it was written over.")
    created_at: Timestamp | None = Field(description="When this version was written.")


class TemplateList(Output):
    """All texts that the caller may write."""

    items: list[TemplateSummary]
    next_cursor: None = None
    total: None = None


class TemplateRead(TemplateSummary):
    """The texts of a mail in one language, and what they may name."""

    html: str
    text: str
    variables: dict[str, str] = Field(
        description="Every variable with an example.", examples=[{"name": "Camille"}]
    )


class RenderedTemplate(Output):
    """A mail as it would be sent."""

    subject: str
    html: str
    text: str


class TrialMail(Output):
    """The mail is on its way to the caller's own address."""

    status: Literal["queued"] = "queued"
