"""Runs a pickle that nobody vouches for: containers, numbers and strings, and the few names that a reader lends it."""

import io
import pickle
from collections.abc import Mapping
from typing import Any

# Opcodes that make instances, look up registered extensions, or allocate a length before reading it.
_TAKEN_AWAY = {
    *(pickle.INST, pickle.OBJ, pickle.NEWOBJ, pickle.NEWOBJ_EX),
    *(pickle.EXT1, pickle.EXT2, pickle.EXT4),
    *(pickle.BYTEARRAY8, pickle.NEXT_BUFFER),
}


class CheckpointError(ValueError):
    """A weight file that cannot be read: damaged, of another format, or not a state dict."""


class UnsafeCheckpointError(CheckpointError):
    """A pickle that asks for more than a state dict needs; nothing that it asks for was called."""


class RestrictedUnpickler(pickle._Unpickler):
    """An unpickler that builds containers, numbers and strings, and calls what it is lent, and nothing else.

    It extends the unpickler in pure Python: the one in C allocates whatever memo table a few hostile bytes ask for, and
    does not let opcodes be taken away.

    Args:
        program: the pickle, or a stream that stands at its beginning.
        lent: what stands for a class or function, by (module, name).
    """

    dispatch = {
        opcode: method for opcode, method in pickle._Unpickler.dispatch.items() if bytes([opcode]) not in _TAKEN_AWAY
    }

    def __init__(self, program: bytes | io.BytesIO, lent: Mapping[tuple[str, str], Any]):
        super().__init__(io.BytesIO(program) if isinstance(program, bytes) else program)
        self.lent = lent

    def find_class(self, module: str, name: str):
        if (module, name) in self.lent:
            return self.lent[module, name]
        raise UnsafeCheckpointError(
            f"it asks for {module}.{name}, which a state dict does not need; nothing of it was executed. "
            "If the file is your own, save the tensors alone: torch.save(model.state_dict(), path)."
        )

    def load_build(self):
        state = self.stack.pop()
        self.build(self.stack[-1], state)

    # BUILD sets attributes, and so could alter the classes that the pickle is lent.
    dispatch[pickle.BUILD[0]] = load_build

    def build(self, instance: Any, state: Any) -> None:
        """Take in what the pickle would set on an instance; here, nothing."""
