"""Stripe's forms: `items[0][price]=…` decoded, and read by name with Stripe's own refusals."""

import re
from collections.abc import Iterator
from operator import attrgetter
from typing import Any
from urllib.parse import parse_qsl

import stripe.params

from app.clients.stripe.sandbox.errors import invalid, required

_PART = re.compile(r"[^\[\]]+|\[\]")
_INTEGER = re.compile(r"-?[0-9]{1,18}")
MAX_DEPTH = 12


def decode(form: str) -> dict[str, Any]:
    """The nested value of a form: dicts, lists and strings."""
    root: dict[str, Any] = {}
    for number, (name, value) in enumerate(parse_qsl(form, keep_blank_values=True)):
        # `expand[]=a&expand[]=b` names no places, so each takes the next one.
        parts = [str(number) if part == "[]" else part for part in _PART.findall(name)]
        if not 1 <= len(parts) <= MAX_DEPTH:
            raise invalid(f"Invalid parameter name: {name[:100]}", code="parameter_invalid", param=name[:100])
        place = root
        for part in parts[:-1]:
            inner = place.setdefault(part, {})
            if not isinstance(inner, dict):
                raise invalid(f"Invalid hash: {name}", code="parameter_invalid", param=name)
            place = inner
        if isinstance(place.get(parts[-1]), dict):
            raise invalid(f"Invalid string: {name}", code="parameter_invalid", param=name)
        place[parts[-1]] = value
    return {name: _lists(value) for name, value in root.items()}


def _lists(value: Any) -> Any:
    """Turn dicts whose names are all numbers into lists."""
    if not isinstance(value, dict):
        return value
    inner = {name: _lists(item) for name, item in value.items()}
    if inner and all(name.isdigit() for name in inner):
        return [inner[name] for name in sorted(inner, key=int)]
    return inner


def parameter_names(class_name: str) -> frozenset[str]:
    """The parameters of an operation as the library's class of that name lists them."""
    return frozenset(attrgetter(class_name)(stripe.params).__annotations__)


class Params:
    """A decoded form, or a hash inside one."""

    def __init__(self, values: dict[str, Any], path: str = "") -> None:
        self.values = values
        self.path = path

    def __contains__(self, name: str) -> bool:
        return name in self.values

    def name(self, name: str) -> str:
        """The whole name of a parameter, as errors show it."""
        return f"{self.path}[{name}]" if self.path else name

    def refuse_unknown(self, known: frozenset[str]) -> None:
        """Refuse what the operation has no parameter for."""
        for name in self.values:
            if name not in known and name != "expand":
                raise invalid(
                    f"Received unknown parameter: {name}", code="parameter_unknown", param=self.name(name)
                )

    def text(self, name: str, default: str | None = None, *, most: int = 5000) -> str | None:
        """A string, or the default; an empty one unsets, so it is None."""
        value = self.values.get(name, default)
        if isinstance(value, (dict, list)):
            raise invalid(
                f"Invalid string: {self.name(name)}", code="parameter_invalid", param=self.name(name)
            )
        if value is not None and len(value) > most:
            raise invalid(
                f"Invalid string: {value[:20]}…; must be at most {most} characters",
                code="parameter_invalid",
                param=self.name(name),
            )
        return value or None

    def need(self, name: str) -> str:
        """A string that must be there."""
        value = self.text(name)
        if value is None:
            raise required(self.name(name))
        return value

    def integer(self, name: str, default: int | None = None) -> int | None:
        """An integer, or the default."""
        value = self.text(name)
        if value is None:
            return default
        if not _INTEGER.fullmatch(value):
            raise invalid(
                f"Invalid integer: {value[:40]}", code="parameter_invalid_integer", param=self.name(name)
            )
        return int(value)

    def number(self, name: str, default: int) -> int:
        """An integer that has a default."""
        value = self.integer(name)
        return default if value is None else value

    def need_integer(self, name: str) -> int:
        """An integer that must be there."""
        self.need(name)
        return self.number(name, 0)

    def boolean(self, name: str, *, default: bool = False) -> bool:
        """`true` or `false`."""
        value = self.text(name)
        if value is None:
            return default
        if value not in {"true", "false"}:
            raise invalid(f"Invalid boolean: {value[:40]}", code="parameter_invalid", param=self.name(name))
        return value == "true"

    def choice(self, name: str, default: str, options: tuple[str, ...]) -> str:
        """One of the options."""
        value = self.text(name, default) or default
        if value not in options:
            raise invalid(
                f"Invalid {name}: must be one of {', '.join(options)}",
                code="parameter_invalid",
                param=self.name(name),
            )
        return value

    def hash(self, name: str) -> "Params":
        """A nested hash; an absent or emptied one has nothing in it."""
        value = self.values.get(name) or {}
        if not isinstance(value, dict):
            raise invalid(f"Invalid hash: {self.name(name)}", code="parameter_invalid", param=self.name(name))
        return Params(value, self.name(name))

    def hashes(self, name: str) -> Iterator["Params"]:
        """A list of hashes."""
        for number, value in enumerate(self._list(name)):
            path = f"{self.name(name)}[{number}]"
            if not isinstance(value, dict):
                raise invalid(f"Invalid hash: {path}", code="parameter_invalid", param=path)
            yield Params(value, path)

    def texts(self, name: str) -> list[str]:
        """A list of strings."""
        values = self._list(name)
        if not all(isinstance(value, str) for value in values):
            raise invalid(
                f"Invalid array: {self.name(name)}", code="parameter_invalid", param=self.name(name)
            )
        return values

    def _list(self, name: str) -> list[Any]:
        value = self.values.get(name) or []
        if not isinstance(value, list):
            raise invalid(
                f"Invalid array: {self.name(name)}", code="parameter_invalid", param=self.name(name)
            )
        return value

    def metadata(self, present: dict[str, str] | None = None) -> dict[str, str]:
        """The metadata after this request: names with an empty value go, an empty hash removes all."""
        if "metadata" not in self.values:
            return dict(present or {})
        given = self.hash("metadata").values
        merged = {**(present or {}), **given} if given else {}
        kept = {name: value for name, value in merged.items() if value != ""}
        wrong = [name for name, value in kept.items() if not isinstance(value, str) or len(value) > 500]
        if wrong or len(kept) > 50 or any(len(name) > 40 for name in kept):
            raise invalid(
                "Metadata has at most 50 keys of 40 characters with values of 500 characters.",
                code="parameter_invalid",
                param=self.name("metadata"),
            )
        return kept
