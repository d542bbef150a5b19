"""Reads an untrusted pickle: containers, numbers and strings, and the few names that a reader allows."""

import io
import pickle
from collections.abc import Mapping
from typing import Any

# Opcodes that make instances, look up registered extensions, or allocate a length before reading it.
_FORBIDDEN = {
    *(pickle.INST, pickle.OBJ, pickle.NEWOBJ, pickle.NEWOBJ_EX),
    *(pickle.EXT1, pickle.EXT2, pickle.EXT4),
    *(pickle.BYTEARRAY8, pickle.NEXT_BUFFER),
}


class CheckpointError(ValueError):
    """A weight file that cannot be read: damaged, of another format, or not a state dict."""


class UnsafeCheckpointError(CheckpointError):
    """A pickle that refers to more than a state dict needs; none of it was called."""


class RestrictedUnpickler(pickle._Unpickler):
    """An unpickler that builds containers, numbers and strings, and calls only what `allowed` contains.

    `allowed` has the substitutes for classes and functions, by (module, name). The base class is the unpickler in pure Python:
    the one in C allocates a memo table of any size that the pickle claims, and its opcodes cannot be removed.
    """

    dispatch = {
        opcode: method for opcode, method in pickle._Unpickler.dispatch.items() if bytes([opcode]) not in _FORBIDDEN
    }

    def __init__(self, program: bytes | io.BytesIO, allowed: Mapping[tuple[str, str], Any]):
        super().__init__(io.BytesIO(program) if isinstance(program, bytes) else program)
        self.allowed = allowed

    def find_class(self, module: str, name: str):
        if (module, name) in self.allowed:
            return self.allowed[module, name]
        raise UnsafeCheckpointError(
            f"it refers to {module}.{name}, which a state dict does not need; none of it was executed. "
            "If the file is yours, save only the tensors: torch.save(model.state_dict(), path)."
        )

    def load_build(self):
        state = self.stack.pop()
        self.build(self.stack[-1], state)

    dispatch[pickle.BUILD[0]] = load_build  # the original sets attributes, also of the allowed classes

    def build(self, instance: Any, state: Any) -> None:
        """Set the state of an instance; ignored here."""
