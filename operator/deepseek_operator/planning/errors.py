"""Errors of the planner."""

__all__ = ["PlanInputError"]


class PlanInputError(ValueError):
    """The spec asks for something that no machine and no amount of money can give.

    Attributes
    ----------
    field
        Where in ``spec``, such as ``resources.accelerators``.
    value
        What stands there.
    message
        What is wrong with it and what would work.
    """

    def __init__(self, field: str, value: object, message: str) -> None:
        self.field = field
        self.value = value
        self.message = message
        super().__init__(f"spec.{field}: {value}: {message}")
