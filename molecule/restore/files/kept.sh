#!/bin/sh
# What was live before a folder and a dataset came back in place is kept; what is kept of the folder is taken away.
set -e
tail -1 /var/db/hostile.before-*/bulk | grep -q spoilt
rm -r /var/db/hostile.before-*
mount -t zfs "$(zfs list -H -o name -r tank/nanozfs/failed | grep '/restore-[0-9a-f]*/var/app$')" /mnt
[ "$(cat /mnt/file)" = spoilt ]
umount /mnt
[ -z "$(find /var -name '.nanozfs-restore-*')" ]
