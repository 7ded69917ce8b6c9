"""`Content-Disposition` of files that are sent to be saved (RFC 6266)."""

from urllib.parse import quote


def attachment(file_name: str) -> str:
    """`attachment` with the name, for old clients in ASCII and for the others as it is (RFC 8187)."""
    plain = "".join(
        character if " " <= character <= "~" and character not in '"\\%' else "_" for character in file_name
    )
    value = f'attachment; filename="{plain}"'
    return value if plain == file_name else f"{value}; filename*=UTF-8''{quote(file_name, safe='')}"
