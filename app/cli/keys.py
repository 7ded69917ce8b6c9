"""Whether a command that needs the key ring has one."""

from app.cli.saying import complain
from app.core.crypto import key_ring


def has_good_keys() -> bool:
    """Whether the key ring can be read; says why when it cannot."""
    try:
        key_ring()
    except ValueError as error:
        complain(f"SECRET_KEYS: {error} Make an entry with `python -m app doctor --new-key`.")
        return False
    return True
