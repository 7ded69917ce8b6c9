"""The ordered list of routers: one per dashboard area."""

from fastapi import APIRouter

ROUTERS: list[APIRouter] = []
