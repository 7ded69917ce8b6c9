"""The mails of invitations, seats and ownership: who gets them, in which language; their links work."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest
from httpx import AsyncClient
from sqlalchemy import update

from app.core import clock
from app.core.config import get_settings
from app.core.database import Database, SystemSession
from app.models.settings import Profile
from tests.areas.test_team_accepting import accept, decline
from tests.areas.test_team_inviting import cancel, invite, resend
from tests.areas.test_team_transfers import accept as accept_ownership
from tests.areas.test_team_transfers import close, offer_to
from tests.factories.accounts import make_user
from tests.factories.invitations import make_invitation, token_of
from tests.support.events import handle_events
from tests.support.personas import Persona, make_colleague

NORA = "nora@atelier.example"

Mail = Mapping[str, Any]


async def mails(client: AsyncClient, database: Database, to: str) -> list[Mail]:
    """What was sent to an address, oldest first."""
    await handle_events(database)
    answer = await client.get("/sandbox/mail.json", params={"to": to})
    found: list[Mail] = answer.json()["items"]
    return found[::-1]


async def speak(db: SystemSession, persona: Persona, locale: str) -> None:
    """Give somebody a language."""
    await db.execute(update(Profile).where(Profile.user_id == persona.user_id).values(locale=locale))
    await db.commit()


def token_in(mail: Mail) -> str:
    """The token of the mail's one link to the application."""
    (link,) = {link for link in mail["links"] if "#token=" in link}
    address, _, token = str(link).partition("#token=")
    assert address == f"{get_settings().app_url}/invitations/accept"
    return token


async def test_mail_when_somebody_is_invited(
    client: AsyncClient, db: SystemSession, database: Database, alice: Persona, charlie: Persona
) -> None:
    """The whole way: what is mailed opens the organisation."""
    await speak(db, charlie, "en")
    await invite(client, alice, charlie.email, role="designer", message="Line one\n<b>two</b>")
    (mail,) = await mails(client, database, charlie.email)
    assert (mail["template"], mail["locale"]) == ("team_invitation", "en")
    assert mail["subject"] == "Alice invites you to Alice on Luneo"
    assert "Line one\n<b>two</b>" in mail["text"]
    assert "&lt;b&gt;two&lt;/b&gt;" in mail["html"]
    assert "designer" in mail["text"]
    assert (await accept(client, charlie, token_in(mail))).status_code == 200
    (told,) = await mails(client, database, alice.email)
    assert (told["template"], told["locale"]) == ("member_joined", "fr")
    assert told["subject"] == "Charlie a rejoint Alice"
    assert "créateur" in told["text"]


@pytest.mark.parametrize(("locale", "word"), [("fr", "invite"), ("en", "invites you")])
async def test_mail_when_the_address_has_no_account(
    client: AsyncClient, db: SystemSession, database: Database, alice: Persona, locale: str, word: str
) -> None:
    """It is written in the language of whoever invites."""
    await speak(db, alice, locale)
    await invite(client, alice, NORA)
    (mail,) = await mails(client, database, NORA)
    assert (mail["locale"], mail["to"]) == (locale, NORA)
    assert word in mail["subject"]


async def test_mail_when_the_invitation_is_over_before_it_is_made(
    client: AsyncClient, db: SystemSession, database: Database, alice: Persona
) -> None:
    first = (await invite(client, alice, NORA)).json()
    await cancel(client, alice, first["id"])
    assert await mails(client, database, NORA) == []
    invitation = await make_invitation(db, owner=alice, email="else@a.example")
    await resend(client, alice, invitation.id)
    with clock.travel(timedelta(seconds=61)):
        await resend(client, alice, invitation.id)
        (mail,) = await mails(client, database, "else@a.example")
    assert token_in(mail) == await token_of(db, invitation.id)


async def test_mail_when_an_invitation_is_declined(
    client: AsyncClient, db: SystemSession, database: Database, alice: Persona
) -> None:
    invitation = await make_invitation(db, owner=alice, email=NORA)
    token = await token_of(db, invitation.id)
    await decline(client, token)
    await decline(client, token)
    (mail,) = await mails(client, database, alice.email)
    assert (mail["template"], mail["subject"]) == ("invitation_declined", f"Invitation refusée : {NORA}")


async def test_mail_when_the_plan_is_full_again_and_again(
    client: AsyncClient, db: SystemSession, database: Database, alice: Persona
) -> None:
    """The owner is told once a day, whoever met the limit."""
    manager = await make_colleague(db, alice, "mia", role="manager")
    for _ in range(3):
        await make_invitation(db, owner=alice)
    for number in range(3):
        assert (await invite(client, manager, f"a{number}@b.example")).status_code == 402
    (mail,) = await mails(client, database, alice.email)
    assert mail["template"] == "limit_reached"
    assert "5 places dans l'équipe" in mail["text"]
    assert f"{get_settings().app_url}/billing/plans" in mail["text"]
    assert (await invite(client, manager, "again@b.example")).status_code == 402
    assert len(await mails(client, database, alice.email)) == 1
    assert await mails(client, database, manager.email) == []
    assert (await invite(client, manager, "tomorrow@b.example")).status_code == 402
    with clock.travel(timedelta(days=1, seconds=1)):
        assert len(await mails(client, database, alice.email)) == 2


async def test_mails_when_ownership_moves(
    client: AsyncClient, db: SystemSession, database: Database, alice: Persona, bob: Persona
) -> None:
    """Both hear of the offer; of the new owner the admins hear, too, and nobody twice."""
    dora = await make_colleague(db, alice, "dora", role="member")
    admin = await make_colleague(db, alice, "ada", role="admin")
    await speak(db, admin, "en")
    await offer_to(client, db, alice, dora)
    for persona in (alice, dora):
        (mail,) = await mails(client, database, persona.email)
        assert mail["template"] == "ownership_request"
        assert "dora@luneo.test" in mail["text"]
    assert await mails(client, database, admin.email) == []
    assert (await accept_ownership(client, dora)).status_code == 200
    for persona in (alice, dora):
        templates = [mail["template"] for mail in await mails(client, database, persona.email)]
        assert templates == ["ownership_request", "ownership_transferred"]
    (mail,) = await mails(client, database, admin.email)
    assert (mail["template"], mail["subject"]) == ("ownership_transferred", "Alice has a new owner")
    assert await mails(client, database, bob.email) == []


@pytest.mark.parametrize(("who", "word"), [("alice", "annulée"), ("dora", "refusée")])
async def test_mails_when_an_offer_of_ownership_is_closed(
    client: AsyncClient, db: SystemSession, database: Database, alice: Persona, who: str, word: str
) -> None:
    dora = await make_colleague(db, alice, "dora", role="member")
    await offer_to(client, db, alice, dora)
    await close(client, {"alice": alice, "dora": dora}[who])
    for persona in (alice, dora):
        mail = (await mails(client, database, persona.email))[-1]
        assert mail["template"] == "ownership_closed"
        assert word in mail["subject"]


async def test_mail_when_names_have_line_breaks(
    client: AsyncClient, db: SystemSession, database: Database, alice: Persona
) -> None:
    """A name cannot break out of the subject."""
    await db.execute(update(Profile).values(full_name="Alice\r\nBcc: all@b.example"))
    await db.commit()
    await invite(client, alice, NORA)
    (mail,) = await mails(client, database, NORA)
    assert mail["subject"] == "Alice Bcc: all@b.example vous invite dans Alice sur Luneo"


async def test_mail_when_the_invited_person_waits_to_be_confirmed(
    client: AsyncClient, db: SystemSession, database: Database, alice: Persona
) -> None:
    """An account that is not confirmed decides nothing: the language is that of whoever invites."""
    stranger = await make_user(db, email=NORA, confirmed=False)
    await db.execute(update(Profile).where(Profile.user_id == stranger.id).values(locale="en"))
    await db.commit()
    await invite(client, alice, NORA)
    (mail,) = await mails(client, database, NORA)
    assert mail["locale"] == "fr"
