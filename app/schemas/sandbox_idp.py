"""What the provider of the sandbox is asked."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from app.core.mail_addresses import LONGEST_ADDRESS
from app.schemas.base import Query


class SandboxAsked(Query):
    """The question of a client (RFC 6749, 4.1.1); what else it says is not read."""

    model_config = ConfigDict(extra="ignore")

    client_id: str = Field(max_length=100)
    redirect_uri: str = Field(max_length=2048)
    state: str = Field(max_length=1024)
    code_challenge: str = Field(max_length=128)
    nonce: str = Field("", max_length=128)


class SandboxApproval(SandboxAsked):
    """The same with who approves, and how the provider is to behave."""

    email: str = Field(min_length=1, max_length=LONGEST_ADDRESS)
    name: str = Field("", max_length=120)
    subject: str = Field("", pattern=r"^[0-9]{0,21}$")
    verified: bool = False
    behaves: str = Field("good", max_length=20)
    decision: Literal["approve", "deny"]


class SandboxTokenForm(BaseModel):
    """A code and what proves that it may be used (RFC 6749, 4.1.3; RFC 7636, 4.5)."""

    model_config = ConfigDict(extra="ignore")

    code: str = Field(max_length=8192)
    client_id: str = Field(max_length=100)
    client_secret: str = Field(max_length=100)
    code_verifier: str = Field(max_length=128)
