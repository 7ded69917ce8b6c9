"""Owns what counts as an e-mail address, and when two of them are the same."""

import re
import unicodedata
from dataclasses import dataclass
from typing import Annotated

import idna
from pydantic import AfterValidator, StringConstraints

LONGEST_ADDRESS = 254
_LONGEST_LOCAL_PART = 64
_LONGEST_LABEL = 63
# RFC 5321, 4.1.2, Dot-string. The quoted form is left out: the RFC itself advises against such mailboxes.
_LOCAL_PART = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*", re.ASCII)
_LABEL = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?", re.ASCII)
_BLANK_OR_CONTROL = re.compile(r"[\s\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class MailAddress:
    """A valid address.

    `address` is as it was typed, and is what mail goes to; only a domain outside ASCII is replaced by its
    ASCII form. `canonical` is its lower case; two addresses are the same when their canonical forms are
    equal. Dots and plus signs are kept, because their meaning is the business of the receiving server.
    """

    address: str
    canonical: str


def parse_address(text: str) -> MailAddress:
    """Read an e-mail address; ValueError, with a sentence that may be shown, when it is not one.

    The shape is that of RFC 5321 with an ASCII local part and at most 254 characters; the domain is made
    ASCII by IDNA 2008 (RFC 5891). Special-use domains such as `.test` and `.local` are accepted.
    """
    if len(text) > LONGEST_ADDRESS:
        raise ValueError(f"An e-mail address has at most {LONGEST_ADDRESS} characters.")
    if _BLANK_OR_CONTROL.search(text) is not None:
        raise ValueError("An e-mail address has no spaces, line breaks or control characters.")
    local_part, at_sign, domain = text.rpartition("@")
    if not at_sign:
        raise ValueError("An e-mail address has an @ sign.")
    if not local_part.isascii():
        raise ValueError("The part before the @ sign may only have ASCII characters.")
    if len(local_part) > _LONGEST_LOCAL_PART or _LOCAL_PART.fullmatch(local_part) is None:
        raise ValueError("The part before the @ sign is not valid.")
    address = f"{local_part}@{_ascii_domain(domain)}"
    if len(address) > LONGEST_ADDRESS:
        raise ValueError(f"An e-mail address has at most {LONGEST_ADDRESS} characters.")
    return MailAddress(address=address, canonical=address.lower())


def _ascii_domain(domain: str) -> str:
    """Return an ASCII domain as it is, any other as A-labels of IDNA 2008; ValueError when it is none."""
    labels = domain.split(".")
    is_encoded = any(label.lower().startswith("xn--") for label in labels)
    if not domain.isascii() or is_encoded:
        try:
            # IDNA 2008 knows no capitals and only composed characters; people type both (RFC 5895).
            domain = idna.encode(unicodedata.normalize("NFC", domain.lower())).decode("ascii")
        except idna.IDNAError:
            raise ValueError("The domain of the e-mail address is not valid.") from None
        labels = domain.split(".")
    is_name = all(len(label) <= _LONGEST_LABEL and _LABEL.fullmatch(label) for label in labels)
    # The last label of a name is never a number; that would be an IP address.
    if len(labels) < 2 or not is_name or labels[-1].isdigit():
        raise ValueError("The domain of the e-mail address is not valid.")
    return domain


def _address_text(text: str) -> str:
    return parse_address(text).address


MailAddressText = Annotated[str, StringConstraints(max_length=LONGEST_ADDRESS), AfterValidator(_address_text)]
"""A field of a body or query that holds one valid e-mail address, as it was typed."""
