"""What the routes of authentication share: who may call, how often, and what is answered besides success."""

from typing import Annotated

from fastapi import Depends

from app.core.access import Principal, allow, public
from app.core.errors import problems
from app.core.limits import limited

NO_STORE = {"Cache-Control": "no-store"}

Anybody = Annotated[None, Depends(public("whoever is not signed in yet comes here"))]
Mailed = Annotated[None, Depends(public("whoever holds the mail may come from any browser"))]
SignedIn = Annotated[Principal, Depends(allow())]

LOGIN_LIMIT = Depends(limited("login_ip", by="address", is_sign_in=True))
SIGNUP_LIMIT = Depends(limited("signup_ip", by="address", is_sign_in=True))
MAIL_LIMIT = Depends(limited("mail_ip", by="address"))

UNUSABLE = ["email_not_confirmed", "account_suspended", "erasure_pending", "no_organization"]
TOKEN_REFUSED = [
    "unauthenticated", "access_token_expired", "access_token_invalid", "session_expired", "session_revoked",
]  # fmt: skip
TOKEN_PROBLEMS = problems({400: ["token_invalid"], 410: ["token_used", "token_expired"]})
