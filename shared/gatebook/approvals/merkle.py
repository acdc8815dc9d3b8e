"""The Merkle tree hash of RFC 6962 over a growing list of leaves."""

import hashlib
from collections.abc import Sequence

_NODE = b"\1"


class Tree:
    """What has to be kept of a tree for it to grow: its size, and the roots of its full subtrees from left to right."""

    def __init__(self, size: int = 0, peaks: Sequence[bytes] = ()) -> None:
        self.size = size
        self.peaks = list(peaks)

    def add(self, leaf: bytes) -> None:
        """Append the hash of a leaf."""
        node, size = leaf, self.size
        while size & 1:
            node = hashlib.sha256(_NODE + self.peaks.pop() + node).digest()
            size >>= 1
        self.peaks.append(node)
        self.size += 1

    def root(self) -> bytes:
        """Return the hash of the whole tree."""
        if not self.peaks:
            return hashlib.sha256().digest()
        root = self.peaks[-1]
        for peak in reversed(self.peaks[:-1]):
            root = hashlib.sha256(_NODE + peak + root).digest()
        return root
