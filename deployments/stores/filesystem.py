"""Which file system a path lies on, told from the kernel's mount table. Reads nothing itself."""

from __future__ import annotations

import re
from pathlib import Path

NETWORK_TYPES = frozenset(
    {
        "9p",
        "afs",
        "beegfs",
        "ceph",
        "cifs",
        "coda",
        "fuse.ceph",
        "fuse.gcsfuse",
        "fuse.glusterfs",
        "fuse.juicefs",
        "fuse.rclone",
        "fuse.s3fs",
        "fuse.sshfs",
        "glusterfs",
        "gpfs",
        "lustre",
        "ncpfs",
        "nfs",
        "nfs4",
        "orangefs",
        "smb3",
        "smbfs",
        "virtiofs",
    }
)
"""File systems shared between machines, where SQLite's write-ahead log (shared memory, byte locks) can lose data."""

_OCTAL = re.compile(r"\\([0-7]{3})")


def filesystem_type(path: Path, mounts: str) -> str | None:
    """Type of the file system that `path` (absolute, without links) lies on, or None where the table does not tell.

    `mounts` is the text of `/proc/mounts`: a line a mount, later ones over earlier ones.
    """
    depth, found = -1, None
    for line in mounts.splitlines():
        fields = line.split(" ")
        if len(fields) < 3:
            continue
        point = Path(_OCTAL.sub(lambda got: chr(int(got[1], 8)), fields[1]))
        if path.is_relative_to(point) and len(point.parts) >= depth:
            depth, found = len(point.parts), fields[2]
    return found
