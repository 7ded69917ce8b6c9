"""Owns the authorization code flow (RFC 6749, 4.1) with services; each has a file for where it differs."""

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar
from urllib.parse import urlencode

from app.clients.connections import (
    Account,
    Addresses,
    Caller,
    Grant,
    OAuthClient,
    RefusedCode,
    ServiceRefused,
    Trip,
)
from app.clients.connections.asking import Reply, ask, basic, bearer, text_of

LONGEST_TOKEN = 8192
LONGEST_LIFE = 10 * 365 * 24 * 3600
MOST_SCOPES = 100
LONGEST_TYPE = 20

_TOKEN = re.compile(r"[!-~]+")


class OAuthService(ABC):
    """A service of this flow. Subclasses say what is theirs; instances belong to one client and place."""

    name: ClassVar[str]
    title: ClassVar[str]
    auth_mode: ClassVar[str] = "oauth2"
    grantor: ClassVar[str | None] = None
    """Who gives grants for several services at once, which all end together; None: the service alone."""

    known_addresses: ClassVar[Addresses | None] = None
    """None where they depend on the account."""

    always_scopes: ClassVar[tuple[str, ...]] = ()
    """Asked for whatever the caller chooses."""

    default_scopes: ClassVar[tuple[str, ...]]
    allowed_scopes: ClassVar[frozenset[str]]
    required_scopes: ClassVar[tuple[str, ...]] = ()
    """Without these the connection is of no use."""

    scope_separator: ClassVar[str] = " "
    has_pkce: ClassVar[bool] = False
    is_client_in_basic: ClassVar[bool] = False
    is_long_lived: ClassVar[bool] = False
    """Its tokens do not expire, so that they are only refreshed on demand."""

    params: ClassVar[tuple[str, ...]] = ()
    """What the caller says beforehand."""

    config: ClassVar[Mapping[str, str]] = {}
    """What callers may store with a connection: names, and patterns of their values."""

    gone_errors: ClassVar[frozenset[str]] = frozenset({"invalid_grant"})
    """How it says that a grant does not exist any more."""

    def __init__(self, client: OAuthClient, caller: Caller, addresses: Addresses) -> None:
        self.client = client
        self.caller = caller
        self.addresses = addresses

    @classmethod
    def asked_scopes(cls, chosen: Iterable[str] | None) -> tuple[str, ...]:
        """What is asked for: what the caller chose, or the default, and what is always asked for."""
        return tuple(dict.fromkeys((*cls.always_scopes, *(chosen or cls.default_scopes))))

    @classmethod
    def missing_scopes(cls, granted: Iterable[str]) -> tuple[str, ...]:
        """The required scopes that were not granted."""
        known = set(granted)
        return tuple(scope for scope in cls.required_scopes if scope not in known)

    def authorize_url(self, trip: Trip) -> str:
        """Where the browser is sent, so that the person approves."""
        asked = {
            "response_type": "code",
            "client_id": self.client.client_id,
            "redirect_uri": trip.redirect_uri,
            "scope": self.scope_separator.join(trip.scopes),
            "state": trip.state,
            **self.more_asked(),
        }
        if self.has_pkce:
            asked |= {"code_challenge": trip.challenge, "code_challenge_method": "S256"}
        return f"{self.addresses.authorize}?{urlencode(asked)}"

    def more_asked(self) -> dict[str, str]:
        """Members of the question that only this service knows."""
        return {}

    async def exchange(self, code: str, verifier: str | None, redirect_uri: str) -> Grant:
        """Exchange the code of an approval for tokens; ServiceDown, ServiceRefused `exchange_failed`."""
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": redirect_uri}
        if self.has_pkce and verifier is not None:
            form["code_verifier"] = verifier
        reply = await self.ask_for_token(self.addresses.token, form | self.more_exchanged())
        return self.read_grant(reply, "exchange_failed")

    def more_exchanged(self) -> dict[str, str]:
        """Members of the exchange that only this service knows."""
        return {}

    async def refresh(self, refresh_token: str) -> Grant:
        """New tokens for a refresh token; ServiceDown, ServiceRefused `refresh_rejected`."""
        form = {"grant_type": "refresh_token", "refresh_token": refresh_token}
        reply = await self.ask_for_token(self.addresses.refresh or self.addresses.token, form)
        return self.read_grant(reply, "refresh_rejected")

    @abstractmethod
    async def identify(self, grant: Grant) -> Account:
        """Whose grant it is; ServiceDown, ServiceRefused `exchange_failed`."""

    async def test(self, access_token: str) -> None:
        """Ask something harmless; ServiceDown, ServiceRefused `credentials_rejected`."""
        reply = await self.ask("GET", self.addresses.test, headers=self.sign(access_token))
        refuse_unless_good(reply)

    def revocable(self, *, account_id: str, access: str | None, refresh: str | None) -> str | None:
        """What is kept of a connection in order to revoke it; None when that cannot be done."""
        del account_id
        return refresh or access

    @abstractmethod
    async def revoke(self, kept: str) -> None:
        """End a grant at the service; ServiceDown, ServiceRefused. One that has ended already is fine."""

    def sign(self, access_token: str) -> dict[str, str]:
        """The header that carries an access token."""
        return bearer(access_token)

    async def ask(self, method: str, url: str, **more: Any) -> Reply:
        """One request to the service."""
        return await ask(self.caller, method, url, is_fixed=self.addresses.is_fixed, **more)

    async def ask_for_token(self, url: str, form: Mapping[str, str]) -> Reply:
        """A request to a token address, with the client's credentials where the service wants them."""
        client = self.client
        if self.is_client_in_basic:
            signed = basic(client.client_id, client.client_secret)
            return await self.ask("POST", url, form=form, headers=signed)
        credentials = {"client_id": client.client_id, "client_secret": client.client_secret}
        return await self.ask("POST", url, form={**form, **credentials})

    def error_in(self, reply: Reply) -> str | None:
        """The error that an answer names, None for one that is good."""
        named = reply.member("error", longest=100)
        if reply.is_success and named is None and reply.document is not None:
            return None
        return named or ("no_json" if reply.document is None else "unnamed")

    def read_grant(self, reply: Reply, code: RefusedCode) -> Grant:
        """The tokens of an answer; ServiceRefused for an error and for what has no token."""
        error = self.error_in(reply)
        if error is not None or reply.document is None:
            named = error or "no_json"
            raise ServiceRefused(code, named, status=reply.status, is_grant_gone=named in self.gone_errors)
        access = _token(reply.document, "access_token")
        if access is None:
            raise ServiceRefused(code, "no_token", status=reply.status)
        token_type = text_of(reply.document, "token_type", longest=LONGEST_TYPE)
        return Grant(
            access_token=access,
            refresh_token=_token(reply.document, "refresh_token"),
            token_type=token_type,
            expires_in=_life(reply.document.get("expires_in")),
            scopes=self.scopes_of(reply.document.get("scope")),
            answer=reply.document,
        )

    def scopes_of(self, value: object) -> tuple[str, ...] | None:
        """The scopes of an answer; None when it does not say."""
        if not isinstance(value, str):
            return None
        return sound_scopes(re.split(r"[ ,]+", value.strip()))


class EndedByAccessToken(OAuthService):
    """A service that ends a grant when one of its access tokens tells it to, and these soon expire."""

    def revocable(self, *, account_id: str, access: str | None, refresh: str | None) -> str | None:
        """Both tokens, which have no spaces: with the refresh token the grant outlives its access token."""
        del account_id
        return f"{access} {refresh or ''}" if access is not None else None

    async def revoke(self, kept: str) -> None:
        """By the access token, or by a new one where that has expired."""
        access, _, refresh = kept.partition(" ")
        if await self.end_by(access) or not refresh:
            return
        try:
            grant = await self.refresh(refresh)
        except ServiceRefused as refusal:
            if refusal.is_grant_gone:
                return
            raise
        await self.end_by(grant.access_token)

    @abstractmethod
    async def end_by(self, access_token: str) -> bool:
        """End the grant of this token; False when the token is good no more. ServiceDown, ServiceRefused."""


def sound_scopes(words: Iterable[object]) -> tuple[str, ...]:
    """Those that are scopes by their look, at most a hundred; what else stands in an answer is left out."""
    sound = (word for word in words if isinstance(word, str) and _TOKEN.fullmatch(word) is not None)
    return tuple(word[:200] for word in sound)[:MOST_SCOPES]


def refuse_unless_good(reply: Reply) -> None:
    """ServiceRefused `credentials_rejected` for an answer that is no success."""
    if not reply.is_success:
        raise ServiceRefused(
            "credentials_rejected", str(reply.status), status=reply.status, is_grant_gone=reply.status == 401
        )


def account_of(reply: Reply, id_member: str, label_member: str | None = None) -> Account:
    """The account that an answer names; ServiceRefused `exchange_failed` when it names none."""
    account_id = reply.member(id_member) if reply.is_success else None
    if account_id is None:
        raise ServiceRefused("exchange_failed", "no_account", status=reply.status)
    label = reply.member(label_member) if label_member is not None else None
    return Account(id=account_id, label=label or account_id)


def _token(document: Mapping[str, Any], name: str) -> str | None:
    value = document.get(name)
    is_sound = isinstance(value, str) and len(value) <= LONGEST_TOKEN and _TOKEN.fullmatch(value)
    return value if isinstance(value, str) and is_sound else None


def _life(value: object) -> int | None:
    """Seconds; what is missing, no integer or not positive is unknown."""
    if type(value) is not int or value <= 0:
        return None
    return min(value, LONGEST_LIFE)
