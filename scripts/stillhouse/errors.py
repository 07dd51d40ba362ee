"""The exceptions of Stillhouse, one tree.

A `StillhouseError` is something that the user can mend: scripts print its text without a traceback and
exit with 1. Anything else is a bug and keeps its traceback.
"""


class StillhouseError(Exception):
    """Base of all errors that are told to the user in plain words."""


class StudyError(StillhouseError):
    """The study (config file) is wrong: unknown key, bad value, or a reference to nothing."""


class InputError(StillhouseError):
    """A file that the study names is missing or malformed; the text names file and line."""


class LedgerError(StillhouseError):
    """The call ledger cannot be read or written safely."""


class CallError(StillhouseError):
    """A model call failed for good, after all its tries."""


class StopError(StillhouseError):
    """The run stops here and can go on later: no prompt failed, and everything paid for is in the ledger."""


class BudgetError(StopError):
    """The next call would pass the budget of the generation or the bound of the run."""


class LimitError(StopError):
    """A model's requests for today are used up."""


class ServerError(StopError):
    """A model's server has failed for so long that asking on is no use."""


class FailureShareError(StillhouseError):
    """More prompts of a generation failed than its `failures.max_share` allows."""


class RecordError(StillhouseError):
    """A record is missing, malformed, or disagrees with the files it describes."""


class TrainingError(StillhouseError):
    """The training data, the base model and the recipe do not fit together."""


class ExportError(StillhouseError):
    """An adapter could not be merged, converted or quantised."""


class EvaluationError(StillhouseError):
    """An evaluation cannot be scored as the study asks."""
