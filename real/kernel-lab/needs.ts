/** What the lab needs of this machine, and what to do where it is missing: told in one line before anything is started. */

import { spawnSync } from 'node:child_process';
import { accessSync, constants, existsSync } from 'node:fs';

/** Debian's packages, each by a file of it that the lab uses. */
const packages: [name: string, file: string][] = [
  ['user-mode-linux', '/usr/bin/linux.uml'],
  ['drbd-utils', '/lib/drbd/drbdsetup-84'],
  ['busybox-static', '/bin/busybox'],
  ['iproute2', '/sbin/ip'],
  ['cpio', '/bin/cpio'],
  ['gcc', '/usr/bin/gcc'],
  ['util-linux', '/usr/bin/unshare'],
];

/** Why the lab cannot run here; undefined: it can. */
export function whatIsMissing(): string | undefined {
  const missing = packages.filter(([, file]) => !existsSync(file)).map(([name]) => name);
  if (missing.length > 0) return `Debian's packages are missing: apt-get install ${missing.join(' ')}`;
  if (process.arch !== 'x64') return `User Mode Linux runs on x86-64, and this is ${process.arch}`;
  if (process.getuid?.() !== 0) return 'it has to be root: network devices and mounts of its own are made';
  try {
    accessSync('/dev/net/tun', constants.R_OK | constants.W_OK);
  } catch {
    return 'there is no /dev/net/tun (modprobe tun; mkdir -p /dev/net; mknod /dev/net/tun c 10 200)';
  }
  const { status, stderr } = spawnSync('unshare', ['--net', '--mount', '--pid', '--fork', '--kill-child', '--mount-proc', 'true'], { encoding: 'utf8' });
  if (status !== 0) return `this machine makes no namespaces: ${stderr.trim()}`;
  return undefined;
}
