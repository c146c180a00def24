# shellcheck shell=bash
# What the scripts in tools/ share. Sourced, never run.

TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
CACHE=${NANOZFS_CACHE:-$TOP/.cache}
VENV=$CACHE/venv
COLLECTIONS=$CACHE/collections
# The ansible-cores that the collection is tested with, each with a Python that it runs on; `default` is the one of requirements/dev.txt.
# tools/matrix has all of them. CI has sanity of the default one and NEXT_CORE, and plays a sample on those that have a name here.
OLDEST_CORE=2.18.19 NEXT_CORE=2.21.5 NEWEST_CORE=2.22.0rc1
MATRIX="$OLDEST_CORE/3.11 default 2.20.10/3.12 $NEXT_CORE/3.12 $NEWEST_CORE/3.13 $NEWEST_CORE/3.14"

# Galaxy's own importer; it brings its own ansible-core
# shellcheck disable=SC2034 # for the scripts that source this
GALAXY_IMPORTER=0.4.44

say() { printf '\n=== %s\n' "$*"; }
die() { printf '%s\n' "$*" >&2; exit 1; }

# Programs of this machine that tests and the lab need, with the Debian packages that have them.
PROGRAMS="makefs:makefs mcopy:mtools fsck.fat:dosfstools sgdisk:gdisk sfdisk:fdisk bmake:bmake ip:iproute2 nsenter:util-linux losetup:mount lua5.4:lua5.4 git:git
	ssh-keygen:openssh-client ssh:openssh-client /usr/bin/python3:python3 setsid:util-linux md5sum:coreutils xz:xz-utils openssl:openssl rsync:rsync
	rsnapshot:rsnapshot dirvish:dirvish mke2fs:e2fsprogs"

missing_packages() {
	local pair
	for pair in $PROGRAMS; do
		PATH=$PATH:/usr/sbin:/sbin command -v "${pair%%:*}" > /dev/null || printf '%s\n' "${pair##*:}"
	done | sort -u
}

# A second lab of this checkout, for what CI plays beside the first.
# shellcheck disable=SC2034 # for the scripts that source this
OTHER_LAB=beside-$(printf '%s' "$TOP" | sha256sum | cut -c 1-8)

# The path of a Python version, also of pyenv's; its shims may lead to no version.
python_of() {
	PATH=$(printf '%s' "$PATH" | tr : '\n' | grep -v '/shims$' | paste -sd:):$(echo "$HOME/.pyenv/versions/$1"*/bin | tr ' ' :) command -v "python$1"
}

# python_for CORE: the path of the first Python that MATRIX has for an ansible-core, and this machine as well.
python_for() {
	local entry
	for entry in $MATRIX; do
		if [ "${entry%/*}" = "$1" ] && python_of "${entry#*/}"; then return; fi
	done
	return 1
}

# core_bin CORE PYTHON: the folder of an ansible-core's programs, which is made where it is not there. Each Python has one of its own.
core_bin() {
	local core=$1 python=$2 folder
	if [ "$core" = default ]; then
		printf '%s\n' "$VENV/bin"
		return
	fi
	folder=$CACHE/core-$core-python$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
	if [ ! -e "$folder/.made" ]; then
		rm -rf "$folder"
		"$python" -m venv "$folder" >&2
		"$folder/bin/pip" install --quiet --no-input --disable-pip-version-check "ansible-core==$core" \
			"$(grep -o '^pytest==[0-9.]*' "$TOP/requirements/dev.txt")" 2>&1 |
			grep -v '^WARNING: Location' >&2 || true
		"$folder/bin/python" -c 'import ansible, pytest' || die "the virtual environment of ansible-core $core is not complete"
		: > "$folder/.made"
	fi
	printf '%s\n' "$folder/bin"
}

# A Python that the working ansible-core runs on.
python() {
	local candidate
	for candidate in python3.11 python3.12 python3.13 python3; do
		if "$candidate" -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2> /dev/null; then
			command -v "$candidate"
			return
		fi
	done
	die "Python 3.11 with venv is needed: apt-get install python3 python3-venv"
}

# An environment for Ansible: the collection by its name, nothing of the machine's own settings.
use_venv() {
	export PATH=$VENV/bin:$PATH:/usr/sbin:/sbin
	export PYTHONPATH=$COLLECTIONS ANSIBLE_COLLECTIONS_PATH=$COLLECTIONS ANSIBLE_HOME=$CACHE/ansible
	export ANSIBLE_NOCOLOR=1 PYTHONDONTWRITEBYTECODE=1
}

# Tests make and rename thousands of small files, for which a file system on a disk takes as long as for all the rest.
# Prints a folder in memory that has room for them and lets programs run, if there is one.
memory() {
	local free probe
	free=$(df --output=avail -k /dev/shm 2> /dev/null | tail -n 1) || return 0
	[ -w /dev/shm ] && [ "${free:-0}" -gt 9437184 ] || return 0
	probe=$(mktemp /dev/shm/nanozfs-probe.XXXXXX) || return 0
	printf '#!/bin/sh\n' > "$probe"
	chmod 700 "$probe"
	if "$probe" 2> /dev/null; then echo /dev/shm; fi
	rm -f "$probe"
}
