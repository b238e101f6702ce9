"""The one exception that a user's mistake raises. Imports nothing."""


class UserError(ValueError):
    """A mistake the user can mend: printed without a traceback.

    The text names the setting or file, its value, and what would work.
    """
