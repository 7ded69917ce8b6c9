"""The shape of a response model: its members in order, for those who write its JSON without making it."""

from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias, get_args

from pydantic import BaseModel

Shape: TypeAlias = Mapping[str, "Shape | None"]
"""Members by name; those that are objects, or lists of objects, of another model have its shape."""


def shape_of(model: type[BaseModel]) -> Shape:
    """The members of a model as its JSON has them."""
    return {
        name: next((shape_of(inner) for inner in _models_in(field.annotation)), None)
        for name, field in model.model_fields.items()
    }


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models_in(part)
