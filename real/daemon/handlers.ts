/** The programs that the core asks to run (configuration.md §3.5): shell command lines of the configuration, with DRBD's environment. */

import { spawn } from 'node:child_process';
import { isIPv6 } from 'node:net';
import type { Output } from '../../src/contract/index.js';
import type { LocalResource } from '../conf/local.js';

type RunHandler = Extract<Output, { type: 'run-handler' }>;

/** Calls back once. A handler that a signal killed counts with the shell's exit code. */
export function runHandler(local: LocalResource, configPath: string, run: RunHandler, exited: (code: number) => void, failed: (reason: string) => void): void {
  const line = local.handlers.get(run.name);
  if (line === undefined) return failed(`no handler ${run.name} is configured`);
  const child = spawn('/bin/sh', ['-c', line], { stdio: ['ignore', 'inherit', 'inherit'], env: { ...process.env, ...environmentOf(local, configPath, run) } });
  let isOver = false;
  child.on('error', (error) => {
    if (isOver) return;
    isOver = true;
    failed(error.message);
  });
  child.on('exit', (code) => {
    if (isOver) return;
    isOver = true;
    exited(code ?? 128);
  });
}

function environmentOf(local: LocalResource, configPath: string, run: RunHandler): Record<string, string> {
  const peer = local.peers[0];
  const volumes = run.minor === undefined ? local.config.volumes : local.config.volumes.filter(({ minor }) => minor === run.minor);
  const environment: Record<string, string> = {
    DRBD_RESOURCE: run.resource,
    DRBD_CONF: configPath,
    DRBD_MINOR: volumes.map(({ minor }) => minor).join(' '),
    DRBD_VOLUME: volumes.map(({ volume }) => volume).join(' '),
    DRBD_LL_DISK: volumes.map(({ volume }) => local.volumes.find((one) => one.volume === volume)?.diskPath ?? '').join(' '),
  };
  if (peer) {
    environment['DRBD_PEER'] = peer.name;
    environment['DRBD_PEERS'] = local.peers.map(({ name }) => name).join(' ');
    environment['DRBD_PEER_ADDRESS'] = peer.remote.host;
    environment['DRBD_PEER_AF'] = isIPv6(peer.remote.host) ? 'ipv6' : 'ipv4';
  }
  return { ...environment, ...Object.fromEntries(run.environment) };
}
