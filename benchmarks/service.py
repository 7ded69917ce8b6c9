"""The service as it is shipped, with one more route: authenticated, and without data of its own."""

import sys
from typing import Annotated

from fastapi import APIRouter, Depends

from app.cli import main
from app.core.access import Principal, allow
from app.core.limits import limited
from app.core.permissions import Permission
from app.core.requests import StrictRoute
from app.routers import ROUTERS
from app.schemas.base import Output

router = APIRouter(prefix="/benchmark", tags=["benchmark"], route_class=StrictRoute)

Reader = Annotated[Principal, Depends(allow(Permission.orders_read, key=True))]


class Nothing(Output):
    """No data."""

    ok: bool = True


@router.get("/nothing", dependencies=[Depends(limited("orders_read", by="principal"))])
async def get_nothing(_: Reader) -> Nothing:
    """Answer whoever is signed in."""
    return Nothing()


if __name__ == "__main__":
    ROUTERS.append(router)
    sys.exit(main())
