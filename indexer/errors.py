"""The one error tree. Every message says what went wrong, where, and what to do about it."""


class FootnoteError(Exception):
    """Base of every error a user can cause or repair.

    `message` says what happened and where; `remedy` says what to do. A door prints the two as two lines.
    """

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    @property
    def kind(self) -> str:
        """The name that errors are counted under."""
        return type(self).__name__.rstrip("_")


class ConfigError(FootnoteError):
    """A setting, option or argument is wrong or missing."""


class DocumentError(FootnoteError):
    """One document cannot be read, and only that document is affected."""


class IndexError_(FootnoteError):
    """A collection or one of its indexes is missing, locked, damaged or of another encoder."""


class ModelError(FootnoteError):
    """An encoder or chat model is missing, unreachable or refused the request."""


class UnfinishedError(ModelError):
    """A model wrote on until it was cut: the server is well, and what it wrote is of no use."""


class ClusterError(FootnoteError):
    """The machines that files are read on cannot be reached, or were lost."""


class DatasetError(FootnoteError):
    """An evaluation data set does not load or does not join."""
