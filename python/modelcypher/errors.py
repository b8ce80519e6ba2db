"""The library's errors as Python's own types: each class is also the builtin that people catch for such a failure.

Every error has `.code` ("MC-E0102"), `.hint` (what to do) and `.where` (a file, an option or an operation; may be empty).
"""
from __future__ import annotations


class Error(Exception):
    """Any failure of the library."""

    code: str = ""
    hint: str = ""
    where: str = ""

    def __str__(self) -> str:
        text = super().__str__()
        return f"{text} [{self.code}]\n  next: {self.hint}" if self.code else text


# Names are those of include/mc/errors.def; what is not listed here is an Error that is a RuntimeError.
_BUILTIN: dict[str, type[BaseException]] = {
    "Usage": ValueError,
    "InvalidArgument": ValueError,
    "ShapeMismatch": ValueError,
    "DtypeMismatch": TypeError,
    "IndexOutOfRange": IndexError,
    "UnsupportedOp": NotImplementedError,
    "SingularMatrix": ArithmeticError,
    "NotFinite": ArithmeticError,
    "FileNotFound": FileNotFoundError,
    "FileRead": OSError,
    "FileWrite": OSError,
    "FileExists": FileExistsError,
    "BadFormat": ValueError,
    "Truncated": ValueError,
    "UnknownLayer": IndexError,
    "UnknownSite": ValueError,
    "BadTemplate": ValueError,
    "BadData": ValueError,
    "ContextTooLong": ValueError,
    "UnknownBackend": ValueError,
    "OutOfMemory": MemoryError,
    "MemoryLimit": MemoryError,
}
_made: dict[str, type[BaseException]] = {}


def _class(name: str) -> type[BaseException]:
    if name not in _made:
        # A missing engine is what people catch as either of the two.
        bases = (Error, RuntimeError, ImportError) if name == "BackendMissing" else (Error, _BUILTIN.get(name, RuntimeError))
        _made[name] = type(name, bases, {"__module__": __name__})
    return _made[name]


def make(name: str, code: str, what: str, where: str, hint: str) -> BaseException:
    """Called by the extension for each mc::Error."""
    if name == "Interrupted":
        return KeyboardInterrupt(what)
    error = _class(name)(what)
    error.code, error.where, error.hint = code, where, hint
    return error


def __getattr__(name: str) -> type[BaseException]:
    if name[:1].isupper() and name.isalnum():  # the names of docs/errors.md
        return _class(name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
