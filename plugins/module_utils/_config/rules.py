# Copyright (c) 2026, nanozfs.fleet contributors
# Simplified BSD License (see LICENSES/BSD-2-Clause.txt or https://opensource.org/licenses/BSD-2-Clause)
# SPDX-License-Identifier: BSD-2-Clause

"""What of /etc is not the host's to say: what only the image has, what every start makes anew, what the layout needs.

The early hook has the same list of files (``unwanted`` in ``boot/nanozfs/cfg.subr``; a unit test compares them), which
judges on the host; here it is for the controller, before any host is asked. The hook reads the settings from the file
that is made here.
"""

from __future__ import annotations

from ansible_collections.nanozfs.fleet.plugins.module_utils._config import rcconf

#: the key that a host is known by to ssh, kept in /cfg; the others are made anew at every start
HOST_KEY = "ssh/ssh_host_ed25519_key"

#: its public half
PUBLIC_KEY = HOST_KEY + ".pub"

#: what ``/etc/rc`` is made of, and what would pin the host to a slice or bring pools in past the early hook: /cfg never
#: goes before the image there, because one mistake in it, or one file of an older version, ends the start of the system
IMAGE_ONLY = (
    "rc",
    "rc.subr",
    "rc.shutdown",
    "rc.initdiskless",
    "netstart",
    "network.subr",
    "pccard_ether",
    "diskless",
    "fstab",
    "mtree",
    "mtree/*",
    "defaults/rc.conf",
    "defaults/vendor.conf",
    "defaults/nanozfs.conf",
    "zfs/zpool.cache",
    "hostid",
    "machine-id",
    "md_size",
    "extract",
    "login.conf.db",
    "nanozfs.log",
    "nanozfs.network*",
    "nanozfs.notes",
    "nanozfs.resolver*",
    "nanozfs.tmp",
)

#: what belongs to the machine or is made anew at every start (rc.d/hostid_save, rc.d/zfs, zfs share, the early hook):
#: no difference to anybody, and never saved
MADE = (
    "fstab",
    "zfs/zpool.cache",
    "zfs/exports",
    "zfs/exports.lock",
    "hostid",
    "machine-id",
    "md_size",
    "extract",
    "login.conf.db",
    "nanozfs.log",
    "nanozfs.network*",
    "nanozfs.notes",
    "nanozfs.resolver*",
    "nanozfs.tmp/*",
)

#: in /cfg: what its files were made against (:mod:`origins`)
ORIGINS = ".nanozfs.origins.gz"

#: in /etc: what the last start could not do, a line each
NOTES = "nanozfs.notes"

#: read by ``/etc/rc`` after rc.conf and all that it names
LAST = "defaults/nanozfs.conf"

#: what the layout rests on, whatever a host's rc.conf says (rc.conf(5))
PINNED = {
    "root_rw_mount": "NO",  # a slice stays what was published, bit by bit
    "gptboot_enable": "NO",  # rc.d/gptboot would clear the trial flags before a single service has started
    "firstboot_sentinel": "/firstboot",  # what is there is no first boot: 15.0's /etc/rc would mount / for writing
    "zpool_upgrade": "",  # the other slice could not read the pool any more
    "zpool_reguid": "",  # the medium knows its pool by the guid
    "varmfs": "AUTO",  # YES would put a memory disk over /var
    "rc_fast_and_loose": "",  # the first script that exits would end /etc/rc
}

#: where rc.subr looks for settings, in order
CONF_FILES = "/etc/rc.conf /etc/rc.conf.local /etc/" + LAST

#: another name of the same file: ``source_rc_confs`` reads each name once
_AGAIN = "/etc/defaults/./nanozfs.conf"


def last_words() -> str:
    """The file :data:`LAST`.

    ``source_rc_confs`` reads the files of ``rc_conf_files``, and then those that came into that list meanwhile
    (``libexec/rc/rc.conf``, the same in 13.2 and 15.0). So the file puts itself behind them once more.
    """
    return (
        "# Read after rc.conf, rc.conf.local and all that they name: what the layout of nanozfs.fleet rests on.\n"
        + rcconf.render(PINNED, (), LAST)
        + 'case " $rc_conf_files " in *" {0} "*) ;; *) rc_conf_files="$rc_conf_files {0}" ;; esac\n'.format(_AGAIN)
    )
