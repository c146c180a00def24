# Copyright (c) 2026, nanozfs.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A Linux guest with OpenZFS, made of Debian's packages without installing any, and the contract cases on it.

The kernel modules are built from the source in zfs-dkms, for Debian's cloud kernel. They and the kernel are kept in a
cache outside the checkout, by the versions of both; nothing of it is ever published. The whole system of the guest is
its initial ramdisk: busybox, dropbear, zfs. Needs no root. ``openzfs.py --help`` says what there is.
"""

from __future__ import annotations

import argparse
import fcntl
import io
import os
import re
import shutil
import stat
import struct
import subprocess
import sys
import tarfile
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Dict, Iterable, Iterator, List, NamedTuple, Optional, Sequence, Tuple

from ansible_collections.nanozfs.fleet.plugins.module_utils._vault.qemu import PROGRAM
from ansible_collections.nanozfs.fleet.tests.contract import runner
from ansible_collections.nanozfs.fleet.tests.contract.machines import DISK_SIZE, DISKS, OpenZfs, ssh_shell
from ansible_collections.nanozfs.fleet.tests.guest import qemu
from ansible_collections.nanozfs.fleet.tests.site import SSH_OPTIONS

#: Debian's release whose packages the guest is made of
RELEASE = "bookworm"

#: depends on the kernel of today
KERNEL_PACKAGE = "linux-image-cloud-amd64"

#: what the guest's programs are made of. The scripts of the packages are not run, so it is only what zfs itself needs.
PROGRAM_PACKAGES = (
    "busybox-static",
    "dropbear-bin",
    "libblkid1",
    "libc6",
    "libcom-err2",
    "libcrypt1",
    "libgcc-s1",
    "libgmp10",
    "libgssapi-krb5-2",
    "libk5crypto3",
    "libkeyutils1",
    "libkrb5-3",
    "libkrb5support0",
    "libnvpair3linux",
    "libssl3",
    "libtirpc3",
    "libtomcrypt1",
    "libtommath1",
    "libudev1",
    "libuuid1",
    "libuutil3linux",
    "libzfs4linux",
    "libzpool5linux",
    "zfsutils-linux",
    "zlib1g",
)

#: programs of this machine that the guest is made with, with the packages that have them
BUILD_PROGRAMS = {
    "apt-get": "apt",
    "dpkg-deb": "dpkg",
    "gcc-12": "gcc-12",
    "make": "make",
    "strip": "binutils",
}
RUN_PROGRAMS = {
    PROGRAM: "qemu-system-x86",
    "setpriv": "util-linux",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
}

#: modules of the guest in the order in which they are loaded: those of Debian's kernel, those of zfs
KERNEL_MODULES = (
    "virtio",
    "virtio_ring",
    "virtio_pci_modern_dev",
    "virtio_pci_legacy_dev",
    "virtio_pci",
    "virtio_blk",
    "failover",
    "net_failover",
    "virtio_net",
)
ZFS_MODULES = ("spl", "zavl", "znvpair", "zunicode", "zcommon", "zlua", "icp", "zzstd", "zfs")

#: without debug information the build takes a third less
NO_DEBUG = ("CONFIG_DEBUG_INFO=", "CONFIG_DEBUG_INFO_BTF=", "CONFIG_DEBUG_INFO_BTF_MODULES=")

#: deadlines in seconds, under software emulation on a machine that has other things to do
BOOT = 120
COMMAND = 300

#: what the guest starts with, as PID 1. Its address is the one that QEMU's network gives; who may log in is on the
#: kernel's command line.
INIT = """#!/bin/busybox sh
/bin/busybox mkdir -p /proc /sys /dev /tmp /mnt /root/.ssh /run /disks /etc/dropbear
/bin/busybox --install -s
export PATH=/sbin:/usr/sbin:/bin:/usr/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/pts
mount -t devpts devpts /dev/pts
ln -sf /proc/mounts /etc/mtab
while read -r module; do insmod "/modules/$module.ko" || echo "openzfs: $module cannot be loaded"; done < /modules/order
ip link set lo up
ip link set eth0 up
ip addr add 10.0.2.15/24 dev eth0
sed -n 's/.*nanozfs.key=\\([^ ]*\\).*/ssh-ed25519 \\1/p' /proc/cmdline > /root/.ssh/authorized_keys
chmod 700 /root /root/.ssh
echo "openzfs: $(zfs version | tail -n 1)"
exec dropbear -F -R -s -j -k
"""


class Unavailable(Exception):
    """What the guest is made of or runs on cannot be had here."""


class BuildError(Exception):
    """The guest cannot be made; says where the log is."""


def cache_folder() -> str:
    """Where what was built is kept."""
    return os.environ.get("NANOZFS_CACHE_DIR", "/var/tmp/nanozfs-openzfs")


def check_programs(needed: Dict[str, str]) -> None:
    """See whether this machine has some programs.

    :raises Unavailable: with the packages that are missing.
    """
    missing = sorted({package for program, package in needed.items() if shutil.which(program) is None})
    if missing:
        raise Unavailable("not installed; on Debian: apt-get install " + " ".join(missing))


# packages


class Apt:
    """Debian's packages, by a configuration of its own: the machine's is not touched, and nothing is installed.

    :param folder: for lists and packages.
    """

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._environment = dict(os.environ, APT_CONFIG=os.path.join(folder, "apt.conf"), LC_ALL="C")

    def prepare(self) -> None:
        """Fetch the lists of the machine's mirror, with contrib.

        :raises Unavailable: when they cannot be had.
        """
        for name in ("lists/partial", "archives/partial"):
            os.makedirs(os.path.join(self._folder, name))
        for name, text in (
            ("status", ""),  # as if nothing were installed: only what the mirror has counts
            ("sources.list", sources(mirror())),
            ("apt.conf", configuration(self._folder)),
        ):
            with open(os.path.join(self._folder, name), "w", encoding="utf-8") as file:
                file.write(text)
        self._run("apt-get", "update", "-q", "-o", "APT::Update::Error-Mode=any")

    def _run(self, *argv: str) -> str:
        return apt_output(argv, self._environment, self._folder)

    def field(self, package: str, name: str) -> str:
        """A field of a package, as the mirror has it.

        :raises Unavailable: when there is no such package.
        """
        shown = self._run("apt-cache", "show", "--no-all-versions", package)
        found = re.search(r"^{0}: (.*)$".format(re.escape(name)), shown, re.MULTILINE)
        if not found:
            raise Unavailable("the package {0} has no {1}".format(package, name))
        return found.group(1)

    def download(self, packages: Iterable[str]) -> Dict[str, str]:
        """Fetch packages; the paths of the archives by name."""
        wanted = list(packages)
        self._run("apt-get", "download", "-q", *wanted)
        names = os.listdir(self._folder)
        return {
            package: os.path.join(self._folder, next(name for name in names if name.startswith(package + "_")))
            for package in wanted
        }


def apt_output(argv: Sequence[str], environment: Dict[str, str], folder: str = "/") -> str:
    """What one of apt's programs prints.

    :raises Unavailable: when it fails.
    """
    done = subprocess.run(argv, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        said = [line for line in done.stderr.splitlines() if line.startswith("E:")] or done.stderr.splitlines()
        raise Unavailable("{0}: {1}".format(" ".join(argv[:2]), said[0] if said else "no reason given"))
    return done.stdout


def mirror() -> str:
    """Where this machine has Debian's packages from.

    :raises Unavailable: when it is no Debian of the release.
    """
    argv = ["apt-get", "indextargets", "--format", "$(REPO_URI) $(CODENAME) $(ORIGIN)", "Identifier: Packages"]
    found = pick_mirror(apt_output(argv, dict(os.environ, LC_ALL="C")))
    if not found:
        raise Unavailable("this machine has no packages of Debian {0}".format(RELEASE))
    return found


def pick_mirror(targets: str) -> Optional[str]:
    """The mirror of the release among apt's index targets: lines of URI, code name and origin."""
    rows = [line.split() for line in targets.splitlines()]
    return next((row[0] for row in rows if row[1:] == [RELEASE, "Debian"]), None)


def sources(uri: str) -> str:
    """A sources.list for a mirror, with contrib."""
    return "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] {0} {1} main contrib\n".format(uri, RELEASE)


def configuration(folder: str) -> str:
    """An apt.conf that keeps everything in a folder."""
    settings = {
        "Dir::Etc::SourceList": folder + "/sources.list",
        "Dir::Etc::SourceParts": "-",
        "Dir::State::Lists": folder + "/lists",
        "Dir::State::Status": folder + "/status",
        "Dir::Cache": folder,
        "Acquire::Languages": "none",
        # there is no folder of apt's own user's here
        "APT::Sandbox::User": "root" if os.geteuid() == 0 else "",
    }
    return "".join('{0} "{1}";\n'.format(*pair) for pair in settings.items())


# initial ramdisk


class Entry(NamedTuple):
    """A file of a cpio archive; ``device`` is major and minor of a character device."""

    name: str
    mode: int
    data: bytes = b""
    device: Tuple[int, int] = (0, 0)


def cpio(entries: Iterable[Entry]) -> bytes:
    """An archive as Linux takes it for an initial ramdisk.

    Source: Documentation/driver-api/early-userspace/buffer-format.rst of the kernel.
    """
    archive = io.BytesIO()
    for number, entry in enumerate([*entries, Entry("TRAILER!!!", 0)], start=1):
        name = entry.name.encode() + b"\0"
        fields = (number, entry.mode, 0, 0, 1, 0, len(entry.data), 0, 0, *entry.device, len(name), 0)
        archive.write(b"070701" + b"".join(b"%08x" % field for field in fields))
        for part in (name, entry.data):
            archive.write(part)
            archive.write(bytes(-archive.tell() % 4))
    return archive.getvalue()


def merged(name: str) -> str:
    """A path of a package as it is in a root with only one lib and sbin, in /usr."""
    path = os.path.normpath(name)
    return "usr/" + path if re.match(r"(bin|sbin|lib|lib64)(/|$)", path) else path


def package_files(archive: str) -> Iterator[Tuple[str, int, bytes]]:
    """The files and links of a package: path, mode, content or target."""
    process = subprocess.Popen(["dpkg-deb", "--fsys-tarfile", archive], stdout=subprocess.PIPE)
    with process, tarfile.open(fileobj=process.stdout, mode="r|") as tar:
        for member in tar:
            if member.issym():
                yield merged(member.name), stat.S_IFLNK | 0o777, member.linkname.encode()
            elif member.isfile():
                file = tar.extractfile(member)
                yield merged(member.name), stat.S_IFREG | member.mode, file.read() if file else b""


#: what of the packages the guest needs
_WANTED = re.compile(r"usr/(s?bin|lib/x86_64-linux-gnu|lib64)/[^/]+$")


def root_entries(files: Iterable[Tuple[str, int, bytes]], modules: Dict[str, bytes]) -> List[Entry]:
    """The guest's whole system.

    :param files: of the packages, as :func:`package_files` gives them.
    :param modules: contents by name, in the order in which they are loaded.
    """
    chosen = {name: (mode, data) for name, mode, data in files if _WANTED.match(name)}
    chosen.update({"modules/{0}.ko".format(name): (stat.S_IFREG | 0o644, data) for name, data in modules.items()})
    chosen.update({name: (stat.S_IFLNK | 0o777, ("usr/" + name).encode()) for name in ("bin", "sbin", "lib", "lib64")})
    for name, mode, text in (
        ("init", 0o755, INIT),
        ("modules/order", 0o644, "".join(name + "\n" for name in modules)),
        ("etc/passwd", 0o644, "root:x:0:0:root:/root:/bin/sh\n"),
        ("etc/group", 0o644, "root:x:0:\n"),
    ):
        chosen[name] = (stat.S_IFREG | mode, text.encode())
    folders = {name[:at] for name in chosen for at, letter in enumerate(name) if letter == "/"} | {"dev"}
    entries = [Entry(name, stat.S_IFDIR | 0o755) for name in sorted(folders)]
    entries.append(Entry("dev/console", stat.S_IFCHR | 0o600, device=(5, 1)))
    return entries + [Entry(name, mode, data) for name, (mode, data) in sorted(chosen.items())]


# building


@dataclass(frozen=True)
class Built:
    """What a guest boots: paths of the kernel and of its initial ramdisk."""

    folder: str

    @property
    def kernel(self) -> str:
        return os.path.join(self.folder, "vmlinuz")

    @property
    def ramdisk(self) -> str:
        return os.path.join(self.folder, "ramdisk.cpio")

    @property
    def versions(self) -> str:
        """Of the kernel and of zfs."""
        return os.path.basename(self.folder)


def find_built(cache: str) -> Optional[Built]:
    """The newest that is complete."""
    try:
        folders = [os.path.join(cache, name) for name in os.listdir(cache) if re.match(r"\d", name)]
    except OSError:
        return None
    return Built(max(folders, key=os.path.getmtime)) if folders else None


def key_of(kernel: str, zfs: str) -> str:
    """The name in the cache of what was built for a kernel of a version of zfs."""
    return "{0}_zfs-{1}".format(kernel, re.sub(r"[^\w.+~-]", "-", zfs))


def build(cache: str, renew: bool = False) -> Built:
    """Make what a guest boots, unless it is there.

    :param renew: look whether Debian has a newer kernel or zfs.
    :raises Unavailable: when the packages or the compiler cannot be had.
    :raises BuildError: when it does not compile.
    """
    os.makedirs(cache, exist_ok=True)
    with open(os.path.join(cache, "lock"), "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        there = find_built(cache)
        if there and not renew:
            return there
        check_programs(BUILD_PROGRAMS)
        with tempfile.TemporaryDirectory(prefix="build-", dir=cache) as work:
            return _build(cache, work)


def _build(cache: str, work: str) -> Built:
    apt = Apt(os.path.join(work, "apt"))
    apt.prepare()
    depends = apt.field(KERNEL_PACKAGE, "Depends").split(" ")[0]
    kernel = depends[len("linux-image-") :]
    built = Built(os.path.join(cache, key_of(kernel, apt.field("zfs-dkms", "Version"))))
    if os.path.exists(built.folder):
        return built
    headers = "linux-headers-" + kernel
    needed = apt.field(headers, "Depends")
    development = [headers, *re.findall(r"linux-headers-\S+-common|linux-kbuild-\S+", needed), "zfs-dkms"]
    packages = apt.download([depends, *development, *PROGRAM_PACKAGES])
    tree = os.path.join(work, "tree")
    for name in development:
        subprocess.run(["dpkg-deb", "-x", packages[name], tree], check=True)
    modules = _kernel_files(packages[depends], kernel)
    modules.update(_compile(cache, tree, kernel))
    files = (file for name in PROGRAM_PACKAGES for file in package_files(packages[name]))
    partial = Built(os.path.join(work, "built"))
    os.makedirs(partial.folder)
    for path, data in (
        (partial.kernel, modules.pop("vmlinuz")),
        (partial.ramdisk, cpio(root_entries(files, modules))),
    ):
        with open(path, "wb") as file:
            file.write(data)
    os.rename(partial.folder, built.folder)
    return built


def _kernel_files(archive: str, kernel: str) -> Dict[str, bytes]:
    """The kernel itself, as ``vmlinuz``, and those of the modules that are not built into it, in their order."""
    found = {}
    for name, _mode, data in package_files(archive):
        if name == "boot/vmlinuz-" + kernel:
            found["vmlinuz"] = data
        elif name.endswith(".ko") and os.path.basename(name)[: -len(".ko")] in KERNEL_MODULES:
            found[os.path.basename(name)[: -len(".ko")]] = data
    return {name: found[name] for name in ("vmlinuz", *KERNEL_MODULES) if name in found}


def _compile(cache: str, tree: str, kernel: str) -> Dict[str, bytes]:
    """Build the modules of zfs; their contents in the order in which they are loaded."""
    folder = os.path.join(tree, "usr", "src")
    headers = os.path.join(folder, "linux-headers-" + kernel)
    common = _settle(os.path.join(headers, "Makefile"), folder)
    source = os.path.join(folder, next(name for name in os.listdir(folder) if name.startswith("zfs-")))
    options = ["--with-config=kernel", "--with-linux=" + common, "--with-linux-obj=" + headers]
    log = os.path.join(cache, "build.log")
    # TEST_JOBS is for what configure tries out with the kernel
    environment = dict(os.environ, TEST_JOBS="2", LC_ALL="C")
    with open(log, "wb") as output:
        for words in (["./configure", *options], ["make", "-j2", "-C", "module", *NO_DEBUG]):
            argv = ["nice", "-n", "10", *words]
            done = subprocess.run(argv, cwd=source, env=environment, stdout=output, stderr=output, check=False)
            if done.returncode != 0:
                raise BuildError("the modules of zfs for {0} cannot be built, see {1}".format(kernel, log))
    os.unlink(log)
    return _stripped(os.path.join(source, "module"))


def _settle(makefile: str, folder: str) -> str:
    """Tell the headers of a kernel where they are, which is not where they would be installed.

    :returns: the folder with those that all kernels of the version have in common.
    """
    with open(makefile, encoding="utf-8") as file:
        text = file.read().replace("/usr/src/", os.path.join(folder, ""))
    with open(makefile, "w", encoding="utf-8") as file:
        file.write(text)
    return os.path.dirname(text.split()[1])  # "include /usr/src/linux-headers-VERSION-common/Makefile"


def _stripped(folder: str) -> Dict[str, bytes]:
    """The modules below a folder."""
    found = {}
    for below, _folders, names in os.walk(folder):
        for name in names:
            if name.endswith(".ko"):
                subprocess.run(["strip", "--strip-debug", os.path.join(below, name)], check=True)
                with open(os.path.join(below, name), "rb") as module:
                    found[name[: -len(".ko")]] = module.read()
    return {name: found[name] for name in ZFS_MODULES}


# running


def partition_sector(size: int) -> bytes:
    """A master boot record with one partition from 1 MiB on.

    ``zpool create`` would partition a whole disk itself, and wait in vain for udev to make the devices.

    :param size: of the disk in bytes; a whole number of MiB.
    """
    entry = struct.pack("<B3sB3sII", 0, b"\xff\xff\xff", 0xBF, b"\xff\xff\xff", 2048, size // 512 - 2048)
    return bytes(446) + entry + bytes(48) + b"\x55\xaa"


class System:
    """A guest that is on.

    :param folder: for its disks, its key and its console's log.
    """

    def __init__(self, built: Built, folder: str) -> None:
        self._key = os.path.join(folder, "key")
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self._key], check=True)
        with open(self._key + ".pub", encoding="utf-8") as file:
            public = file.read().split()[1]
        self._link = os.path.join(folder, "link")
        self._port = qemu.free_port()
        kernel = qemu.Kernel(
            built.kernel, built.ramdisk, "console=ttyS0 quiet panic=-1 mitigations=off nanozfs.key=" + public
        )
        drives = [os.path.join(folder, "disk{0}.img".format(number)) for number in range(DISKS)]
        for path in drives:
            with open(path, "wb") as disk:
                disk.write(partition_sector(DISK_SIZE))
                disk.truncate(DISK_SIZE)
        hardware = qemu.Hardware(drives, {22: self._port}, memory=768, cpus=1, kernel=kernel)
        self.guest = qemu.Guest("openzfs", folder, hardware)

    @property
    def ssh(self) -> List[str]:
        """The ssh that leads there, over one connection that is kept open."""
        options = ["-o", "ControlMaster=auto", "-o", "ControlPersist=600", "-o", "ControlPath=" + self._link]
        options += ["-o", "ServerAliveInterval=15", "-o", "BatchMode=yes"]
        return ["ssh", "-p", str(self._port), "-i", self._key, *SSH_OPTIONS, *options, "root@127.0.0.1"]

    def start(self) -> None:
        """Switch it on and wait for it.

        :raises GuestError: when it does not come up.
        """
        self.guest.on()
        self.guest.wait_ssh(BOOT)

    def stop(self) -> None:
        """Cut its power, and close the connection."""
        self.guest.cut()
        subprocess.run([*self.ssh[:-1], "-O", "exit", self.ssh[-1]], capture_output=True, check=False)

    def restart(self) -> None:
        """A power cut, and another start."""
        self.stop()
        self.start()

    def machine(self) -> OpenZfs:
        """What cases are run on."""
        return OpenZfs(ssh_shell(self.ssh, COMMAND), self.restart)


@contextmanager
def system(built: Built) -> Iterator[System]:
    """A guest that is on, for as long as it is used; nothing of it stays."""
    with tempfile.TemporaryDirectory(prefix="nanozfs-openzfs-") as folder:
        guest = System(built, folder)
        try:
            guest.start()
            yield guest
        finally:
            guest.stop()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="tools/openzfs", description="The contract cases on a guest with OpenZFS.")
    parser.add_argument(
        "cases", nargs="*", metavar="CASE", help="names of files in tests/contract/cases; all by default"
    )
    parser.add_argument("--renew", action="store_true", help="build anew if Debian has a newer kernel or zfs")
    parser.add_argument("--shell", action="store_true", help="a shell on the guest instead of cases")
    return parser


def chosen_cases(names: Sequence[str]) -> List[runner.Case]:
    """The cases of these names, or all.

    :raises CaseError: when there is none of a name.
    """
    cases = runner.load_cases()
    missing = set(names) - {case.file for case in cases}
    if missing:
        raise runner.CaseError("no case {0}; there are {1}".format(min(missing), " ".join(case.file for case in cases)))
    return [case for case in cases if not names or case.file in names]


def main(argv: List[str]) -> int:
    """Entry point."""
    options = _parser().parse_args(argv)
    try:
        cases = chosen_cases(options.cases)
        check_programs(RUN_PROGRAMS)
        began = time.monotonic()
        built = build(cache_folder(), options.renew)
        print("{0}, ready after {1:.0f} s".format(built.versions, time.monotonic() - began), flush=True)
        with system(built) as there:
            print("the guest is up after {0:.0f} s".format(time.monotonic() - began), flush=True)
            if options.shell:
                return subprocess.run([*there.ssh[:-1], "-t", there.ssh[-1]], check=False).returncode
            outcomes = runner.run_cases(cases, there.machine(), partial(print, flush=True))
    except Unavailable as reason:
        print("SKIPPED: the contract cases need a guest with OpenZFS: {0}.".format(reason))
        return 0
    except (BuildError, qemu.GuestError, runner.CaseError, subprocess.SubprocessError) as problem:
        print("FAILED: {0}".format(problem), file=sys.stderr)
        return 1
    print("\n" + "\n".join(runner.table(outcomes)))
    return 1 if any(each.problem for each in outcomes) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
