# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Documentation that the modules share."""

from __future__ import annotations


class ModuleDocFragment:
    """Attributes and remarks common to all modules of the collection."""

    DOCUMENTATION = r"""
attributes:
  check_mode:
    description: Can run in C(check_mode) and return changed status prediction without modifying target.
    support: full
  diff_mode:
    description: Will return details on what has changed (or would change in C(check_mode)), when in diff mode.
    support: full
  platform:
    description: Target operating systems.
    support: full
    platforms: freebsd
requirements:
  - FreeBSD 13.2 or later; nothing but its base system and a Python 3.8 or later
author:
  - nanozfs.fleet contributors (@nanozfs)
"""

    INFO = r"""
attributes:
  check_mode:
    description: Can run in C(check_mode) and return changed status prediction without modifying target.
    support: full
    details: This module changes nothing.
  diff_mode:
    description: Will return details on what has changed (or would change in C(check_mode)), when in diff mode.
    support: N/A
    details: This module changes nothing.
  platform:
    description: Target operating systems.
    support: full
    platforms: freebsd
requirements:
  - FreeBSD 13.2 or later; nothing but its base system and a Python 3.8 or later
author:
  - nanozfs.fleet contributors (@nanozfs)
"""

    # what is done on the controller, or on another machine that is no host
    CONTROLLER = r"""
attributes:
  check_mode:
    description: Can run in C(check_mode) and return changed status prediction without modifying target.
    support: full
  diff_mode:
    description: Will return details on what has changed (or would change in C(check_mode)), when in diff mode.
    support: none
  platform:
    description: Target operating systems.
    support: full
    platforms: posix
author:
  - nanozfs.fleet contributors (@nanozfs)
"""

    # a pool that is made, or taken over from a machine that is dead
    NEWPOOL = r"""
options:
  vdevs:
    description: The data vdevs to create the pool from, as in M(nanozfs.fleet.zpool_create), where there is none.
    type: list
    elements: dict
    default: []
    suboptions:
      type:
        description: Kind of the vdev.
        type: str
        choices: [stripe, mirror, raidz, raidz1, raidz2, raidz3]
        default: raidz
      disks:
        description: Its disks, as device names or GPT labels.
        type: list
        elements: str
        required: true
  force_hostid:
    description:
      - Hostid of the dead host that an existing pool may be taken over from, as in M(nanozfs.fleet.zpool_import).
    type: str
"""

    # what only decides, on the controller
    DECIDES = r"""
attributes:
  check_mode:
    description: Can run in C(check_mode) and return changed status prediction without modifying target.
    support: full
    details: This module changes nothing.
  diff_mode:
    description: Will return details on what has changed (or would change in C(check_mode)), when in diff mode.
    support: N/A
    details: This module changes nothing.
  platform:
    description: Target operating systems.
    support: full
    platforms: posix
author:
  - nanozfs.fleet contributors (@nanozfs)
"""

    # which run over a fleet it is, and what is known of its hosts
    RUN = r"""
options:
  look:
    description:
      - The variable in which the result of M(nanozfs.fleet.upgrade_info) was registered for each host. Empty when
        nobody has looked - then all hosts are taken for fit.
    type: str
    default: ""
  run:
    description:
      - What this run is called among those of one C(ansible-playbook), so that a play finds no plan of another one. The
        playbooks say what they do and whom they were asked for.
    type: str
    required: true
"""

    # of work that goes on in the background; the arguments are _arguments.JOB
    JOB = r"""
options:
  interval:
    description:
      - Seconds between two lines about the progress at first. What takes long is asked about less often, down to every
        thirty seconds, because asking costs bytes as well.
    type: int
    default: 5
  detach:
    description: Return while the work goes on. The action of this module uses it, and so need not be given.
    type: bool
    default: false
  job:
    description: The work to look at, with O(detach=true).
    type: str
  wait:
    description: How long to wait for the end before returning, with O(detach=true), in seconds.
    type: int
    default: 5
"""

    TRUST = r"""
options:
  repository:
    description:
      - Where the images are published, as V(http://), V(https://) or V(file://) address or as an absolute path on the
        target. Proxies are taken from the environment (E(http_proxy), E(https_proxy), E(no_proxy)).
    type: str
    required: true
  image:
    description:
      - Which image is meant - a version, an image id (at least eight characters of it), V(latest), or V(ring:NAME) for
        what the channel says that a ring should run.
    type: str
    required: true
  name:
    description:
      - Only consider images of this name. For a ring it is the name of the running image by default.
    type: str
  allowed_signers:
    description:
      - The file with the keys whose signatures count, in the format of the section ALLOWED SIGNERS of
        C(ssh-keygen(1)). The default is the one inside the running image, which nobody can change on the host.
    type: path
    default: /boot/nanozfs/allowed_signers
  revoked_keys:
    description:
      - A file with keys that are not trusted any more, whatever O(allowed_signers) says - public keys, or a key
        revocation list of C(ssh-keygen(1)). Ignored when it does not exist.
    type: path
    default: /boot/nanozfs/revoked_keys
  ca_file:
    description:
      - A file with the certificates to trust for V(https://), where the ones of the system do not do.
    type: path
  timeout:
    description:
      - Seconds of silence of the server that count as a failure.
    type: int
    default: 30
  retries:
    description:
      - How many failures in a row are tolerated.
    type: int
    default: 5
  deadline:
    description:
      - The longest time that everything which is fetched may take together, in seconds. After that the module gives up;
        what is written already is kept.
    type: int
    default: 3600
  redirect_hosts:
    description:
      - Names of hosts that the server of O(repository) may redirect to. Its own name need not be among them. From https
        to http no redirect is followed.
    type: list
    elements: str
    default: []
"""

    PUSH = r"""
options:
  push:
    description:
      - The target cannot reach the images - O(repository) is where the controller finds them, and what the target needs
        is brought to it over the connection of the play. A whole id or a version must be asked for, not a ring.
    type: bool
    default: false
"""

    # who asks; the arguments are _arguments.LEASE
    LEASE = r"""
options:
  lease:
    description:
      - The lease of this play on the host, as RV(nanozfs.fleet.transaction#module:lease) says it. A call that changes
        anything is refused when another play has taken over meanwhile. The action of the module remembers it for the
        host, so it need not be given.
    type: str
  holder:
    description:
      - Who asks, for the messages of others - C(user), C(node), C(job), C(pid) and C(started). The action of the module
        fills it in.
    type: dict
  lease_seconds:
    description: How long the lease lasts after the host heard of its holder last.
    type: int
    default: 600
  take_over:
    description: Take over from another play, also when its lease is not over.
    type: bool
    default: false
"""

    # what is asked of a host; the arguments are _arguments.LIMITS
    LIMITS = r"""
options:
  pool:
    description: Name of the system pool. By default the one that the running image names.
    type: str
  datasets:
    description: The datasets below C(<pool>/nanozfs) that are put back when the trial fails.
    type: list
    elements: str
    default: [cfg, var]
  trial_timeout:
    description: Seconds after which a host on trial that nobody commits goes back by itself.
    type: int
    default: 600
  min_free:
    description: Bytes that the pool must have available.
    type: int
    default: 67108864
  allow_degraded:
    description: Go on although the pool has lost its redundancy.
    type: bool
    default: false
  allow_mbr:
    description: Also where the OS medium has an MBR, which cannot boot a slice once.
    type: bool
    default: false
  backup_wait:
    description:
      - For how many seconds M(nanozfs.fleet.trial) will wait for the end of a backup that is being read from the host.
        With V(0) a host of which one is read is refused; with V(-1) it does not count.
    type: int
    default: 0
    version_added: 1.1.0
"""

    # of what comes before a restart; the arguments are _arguments.UNSAVED
    UNSAVED = r"""
options:
  unsaved:
    description:
      - What becomes of files of C(/etc) that were changed and not saved, which the restart would take - V(stop)
        refuses, V(save) keeps them as C(nanozfs save) does, V(drop) lets them go.
      - Files that are new in C(/etc) are only told of; many are made anew by what made them.
    type: str
    choices: [stop, save, drop]
    default: stop
"""

    # of /cfg with a new system; the arguments are _arguments.MERGE
    MERGE = r"""
options:
  merge:
    description:
      - Merge the files in C(/cfg) with what the new system has in their place, for the trial and what comes after it. A
        file that stays hides what is new in the image.
      - What wins where both sides changed the same, by patterns of paths in C(/etc); the first that fits counts.
        V(ours) and V(theirs) settle it, V(stop) refuses, which is what happens where no pattern fits; V(keep) leaves
        the file as it is in any case.
      - Without it, files are left as they are.
    type: dict
    version_added: 1.1.0
"""

    # files of the site; the arguments are _arguments.AFTER
    AFTER = r"""
options:
  after_commit_tasks:
    description: A file with tasks that the site wants to be run after the new system was kept.
    type: path
  after_revert_tasks:
    description: A file with tasks that the site wants to be run when the host is, or stays, on the old system.
    type: path
"""

    # of the one look before a trial; the arguments are _arguments.LOOKING
    LOOKING = r"""
options:
  commands:
    description: The commands that will check the new system, to see that they are some. Lists, or text in shell words.
    type: list
    elements: raw
    default: []
  before_restart_tasks:
    description:
      - A file with tasks that the site wants to be run before the restart into the trial. The action of the module sees
        that it is there, beside the playbook or in C(tasks) there, and returns its full path in RV(tasks).
    type: path
  take_over:
    description: Do not refuse a host that another play is at work on.
    type: bool
    default: false
  holder:
    description: Who asks, as in M(nanozfs.fleet.transaction). The action of the module fills it in.
    type: dict
"""

    # of a transfer; the arguments are _arguments.TRANSFER
    TRANSFER = r"""
options:
  relay:
    description:
      - Address of a relay of O(repository) in the site of the target, which is asked first - a host with
        C(nanozfs relay), or any cache. What it does not have, does not deliver or delivers wrongly comes from
        O(repository) itself, and so do the channel and the index that says which image is the latest, unless
        O(repository) does not answer. It is met without a proxy, and not used where O(repository) is a folder.
    type: str
    version_added: 1.1.0
  allow_older:
    description:
      - Also write an image with a lower C(seq) than the running one. Never below the C(min_seq) of the running image.
    type: bool
    default: false
  fallback:
    description:
      - What to do where no delta can be used - because none is published from what this host has, or because the server
        does not have it or does not do byte ranges. V(full) fetches the full pack and says so, V(fail) gives up.
    type: str
    choices: [full, fail]
    default: full
  deltas:
    description: Whether deltas may be used at all.
    type: bool
    default: true
  max_transfer:
    description: Refuse to fetch more than this, in bytes.
    type: int
  connections:
    description: How many connections to use at most.
    type: int
    default: 2
  rate_limit:
    description: The most to fetch in a second, over all connections together, in bytes.
    type: int
  line_rate:
    description: Speed of the line for predictions and for choosing between codecs, in Mbit/s.
    type: int
    default: 100
"""
