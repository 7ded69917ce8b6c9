"""What tests of connections share: an app that connects, a browser that travels, a service that is played."""

from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from httpx import AsyncClient, Response
from sqlalchemy import select

from app.core.database import SystemSession
from app.models.integrations import Integration
from tests.support.personas import Persona

SHOP = "atelier.myshopify.com"

PARAMS: dict[str, dict[str, str]] = {"shopify": {"shop": SHOP}}

OAUTH_SERVICES = ["slack", "google_drive", "google_analytics", "figma", "hubspot", "stripe", "shopify"]


@dataclass
class Journey:
    """A connection on its way: what the browser was sent to the service with."""

    authorize_url: str
    asked: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        self.asked = dict(parse_qsl(urlsplit(self.authorize_url).query))

    @property
    def state(self) -> str:
        return self.asked["state"]


async def connect(client: AsyncClient, who: Persona, service: str = "slack", **more: Any) -> Journey:
    """The app begins."""
    body: dict[str, Any] = {"service": service, **more}
    if service in PARAMS:
        body.setdefault("params", PARAMS[service])
    answer = await client.post("/api/integrations/connect", json=body, headers=who.headers)
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    return Journey(answer.json()["authorize_url"])


async def approve(client: AsyncClient, journey: Journey, **more: Any) -> str:
    """The person approves at the service (or denies); the address that the browser is sent back to."""
    path = urlsplit(journey.authorize_url).path.removesuffix("/authorize")
    query = {**journey.asked, "decision": "approve", **more}
    answer = await client.get(f"{path}/decide", params=query)
    assert answer.status_code == 303, answer.text
    return str(answer.headers["location"])


async def come_back(client: AsyncClient, address: str) -> dict[str, str]:
    """The browser comes back; what the app finds behind the `#`, and under `path` where it is."""
    answer = await client.get(address)
    assert answer.status_code == 303, answer.text
    assert answer.content == b""
    assert answer.headers["cache-control"] == "no-store"
    parts = urlsplit(answer.headers["location"])
    assert f"{parts.scheme}://{parts.netloc}" == "http://app.luneo.test"
    return {**dict(parse_qsl(parts.fragment)), "path": parts.path}


async def approved(client: AsyncClient, who: Persona, service: str = "slack", **more: Any) -> str:
    """The completion token of a connection that was approved; `behaves` and `account` go to the service."""
    said = {name: more.pop(name) for name in ("behaves", "account") if name in more}
    journey = await connect(client, who, service, **more)
    return (await come_back(client, await approve(client, journey, **said)))["integration_completion"]


async def complete(client: AsyncClient, who: Persona, completion: str) -> Response:
    """The app gives the token back."""
    return await client.post(
        "/api/integrations/complete", json={"completion": completion}, headers=who.headers
    )


async def connected(client: AsyncClient, who: Persona, service: str = "slack", **more: Any) -> dict[str, Any]:
    """A connection that was begun, approved and completed."""
    answer = await complete(client, who, await approved(client, who, service, **more))
    assert answer.status_code == 201, answer.text
    row: dict[str, Any] = answer.json()
    assert answer.headers["location"] == f"/api/integrations/{row['id']}"
    return row


async def row_of(db: SystemSession, integration_id: str) -> Integration:
    """The row as it is now."""
    statement = select(Integration).where(Integration.id == integration_id)
    found = (await db.execute(statement.execution_options(populate_existing=True))).scalar_one()
    await db.commit()
    return found
