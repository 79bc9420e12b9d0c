from __future__ import annotations

from pathlib import Path

import pytest

from deployments.stores.filesystem import NETWORK_TYPES, filesystem_type

MOUNTS = """\
/dev/sda1 / ext4 rw,relatime 0 0
tmpfs /run tmpfs rw 0 0
server:/export /mnt/shared nfs4 rw,vers=4.2 0 0
/dev/sdb1 /mnt/shared/local xfs rw 0 0
//server/share /mnt/with\\040space cifs rw 0 0
user@host: /home/me/remote fuse.sshfs rw 0 0
/dev/sdc1 /mnt/twice ext4 rw 0 0
server:/b /mnt/twice nfs rw 0 0
broken
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/data/responses.sqlite3", "ext4"),
        ("/mnt/shared/responses.sqlite3", "nfs4"),
        ("/mnt/shared/local/responses.sqlite3", "xfs"),
        ("/mnt/shared-not/responses.sqlite3", "ext4"),
        ("/mnt/with space/responses.sqlite3", "cifs"),
        ("/home/me/remote/a/b", "fuse.sshfs"),
        ("/mnt/twice/x", "nfs"),
    ],
)
def test_the_deepest_and_latest_mount_tells_the_type(path: str, kind: str) -> None:
    assert filesystem_type(Path(path), MOUNTS) == kind


def test_an_empty_table_tells_nothing() -> None:
    assert filesystem_type(Path("/data"), "") is None


def test_local_types_are_not_network_types() -> None:
    assert not NETWORK_TYPES & {"ext4", "xfs", "btrfs", "tmpfs", "overlay", "zfs"}
    assert {"nfs", "nfs4", "cifs", "smb3", "fuse.sshfs", "9p", "ceph", "glusterfs", "lustre"} <= NETWORK_TYPES
