"""Which file system a directory is on: not every one keeps what was committed."""

from pathlib import Path

IN_MEMORY = frozenset({"tmpfs", "ramfs", "devtmpfs"})
NETWORK = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "fuse.sshfs", "afs", "ceph", "glusterfs"})


def kind_of(directory: Path, mounts: Path = Path("/proc/self/mountinfo")) -> str:
    """Return the file system's name as the kernel gives it; "unknown" elsewhere than on Linux."""
    try:
        lines = mounts.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return "unknown"
    place = directory.resolve()
    deepest, kind = 0, "unknown"
    for line in lines:
        before, _, behind = line.partition(" - ")
        mounted = Path(before.split()[4])
        if place.is_relative_to(mounted) and len(mounted.parts) >= deepest:
            deepest, kind = len(mounted.parts), behind.split()[0]
    return kind


def risk_of(kind: str) -> str:
    """Return what is wrong with a database on such a file system; empty for nothing."""
    if kind in IN_MEMORY:
        return f"{kind} is in memory: everything is lost with the machine"
    if kind in NETWORK:
        return f"{kind} is on a network: SQLite's locks and its WAL do not hold there; use PostgreSQL"
    return ""
