"""Problem+json (RFC 9457): the members of an error answer, and its place in the OpenAPI document."""

from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from app.core.errors.family import AppError

MEDIA_TYPE = "application/problem+json"

NEWER_PHRASES = {413: "Content Too Large", 416: "Range Not Satisfiable", 422: "Unprocessable Content"}
"""The phrases of RFC 9110 where Python's depend on its version."""


class Fault(BaseModel):
    """One fault in what was sent."""

    pointer: str = Field(description="JSON pointer into the body, or to the name of the parameter.")
    code: str = Field(description="Stable name of the fault.")
    detail: str = Field(description="What to do, in a sentence.")


class Problem(BaseModel):
    """Every error answer (RFC 9457). Some codes carry further members, which their route describes."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(description="Address of the code's description.")
    title: str = Field(description="The phrase of the status.")
    status: int = Field(description="The HTTP status.")
    detail: str = Field(description="What happened and what to do next, in a sentence.")
    instance: str = Field(description="The path that was asked for.")
    code: str = Field(description="Stable name of the error; write your program against this.")
    request_id: str = Field(description="The request in our logs; quote it when you ask for help.")
    errors: list[Fault] = Field(description="The single faults of a 422.")


def problems(codes: Mapping[int, Iterable[str]]) -> dict[int | str, dict[str, Any]]:
    """`responses=` of a route: the problem codes that are its own, by status.

    What every route may answer (401, 403, 422, 429 …) is added to the document by `core/openapi.py`.
    """
    return {
        status: {
            "description": f"{phrase(status)}: " + ", ".join(f"`{code}`" for code in listed),
            "x-codes": list(listed),
        }
        for status, listed in ((status, list(codes[status])) for status in codes)
    }


def phrase(status: int) -> str:
    """What a status is called."""
    return NEWER_PHRASES.get(status) or HTTPStatus(status).phrase


def problem(error: AppError, *, instance: str = "", request_id: str = "") -> dict[str, Any]:
    """The members of an error answer; the OpenAPI document's examples are made by it, too."""
    return {
        "type": f"https://docs.luneo.app/problems/{error.code}",
        "title": phrase(error.status),
        "status": error.status,
        "detail": error.detail,
        "instance": instance,
        "code": error.code,
        "request_id": request_id,
        "errors": [item.as_dict() for item in error.errors],
        **error.extensions,
    }
