"""When Python looks for garbage: seldom while everything is imported, and never among what stays."""

import gc


def rest_while_importing() -> None:
    """Look seldom: importing makes half a million objects that all stay, and looking costs half a second."""
    gc.set_threshold(100_000, 20, 100)


def settle() -> None:
    """Search no more in what lives now, since it lives as long as the process, and in the rest at times."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)
