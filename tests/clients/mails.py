"""The mail that the tests of every sender send."""

from dataclasses import replace

from app.clients.mailer import OutgoingMail

MAIL = OutgoingMail(
    message_id="019a0000-0000-7000-8000-000000000001@luneo.test",
    to_address="zoe@luneo.test",
    from_address="Luneo <no-reply@luneo.test>",
    subject="Où êtes-vous ?",
    text="Bonjour Zoé,\n\nvoilà.\n",
    html="<p>Bonjour <b>Zoé</b></p>",
    template="welcome",
    locale="fr",
    headers={"List-Unsubscribe": "<https://api.luneo.test/u/1>"},
)

SMUGGLED = replace(MAIL, subject="a\r\nBcc: x@y.z")
UNKNOWN_MAILBOX = replace(MAIL, to_address="nobody@unknown.luneo.test")
