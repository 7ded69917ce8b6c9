"""Kinds of settings that a plain type does not tell."""

from typing import Annotated

from pydantic import BeforeValidator, Field
from pydantic_settings import NoDecode

Rule = Annotated[str, Field(pattern=r"^[1-9][0-9]{0,8}/[1-9][0-9]{0,3}[smh]$")]
"""A rate limit: `<count>/<period>`, for example `50/15m`; units are s, m and h."""


def _split(value: object) -> object:
    if isinstance(value, str):
        return [word.strip() for word in value.split(",") if word.strip()]
    return value


WordList = Annotated[list[str], NoDecode, BeforeValidator(_split)]
"""A list that is written with commas in the environment."""
