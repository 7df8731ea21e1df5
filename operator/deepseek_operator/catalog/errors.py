"""Errors of the catalog."""

__all__ = ["CatalogError"]


class CatalogError(ValueError):
    """A catalog file or row is wrong.

    Attributes
    ----------
    file, row, field
        Where: file name, id or name of the row, and dotted field; empty where it does not apply.
    """

    def __init__(self, file: str, row: str, field: str, message: str) -> None:
        self.file = file
        self.row = row
        self.field = field
        where = ", ".join(part for part in (file, row, field) if part)
        super().__init__(f"{where}: {message}")
