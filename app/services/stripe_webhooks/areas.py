"""Owns the finding of what areas register: effects of events, and calls."""

import importlib
import pkgutil
from functools import cache

import app.services

REGISTERING = (".stripe_effects", ".stripe_commands")
"""How modules are called that register effects or commands."""


@cache
def load_areas() -> None:
    """Import every such module below app.services, once per process, in alphabetical order."""
    for module in pkgutil.walk_packages(app.services.__path__, "app.services."):
        if module.name.endswith(REGISTERING):
            importlib.import_module(module.name)
