/**
 * The handlers that a core runs: programs of the host that take their time and exit with a code. What `derive` means for
 * fence-peer: the answer that a good handler gives, which asks the peer over a management network that no fault touches
 * (node-states.md §8.9).
 */

import type { HandlerName } from '../../src/contract/index.js';
import { Disk, Role } from '../../src/state/states.js';
import type { Host } from './host.js';
import type { World } from './world.js';

/** A machine that was shot boots again. */
const REBOOT_US = 5_000_000;
const ASK_AGAIN_US = 1_000_000;
const GIVE_UP_US = 30_000_000;
const BROKEN = 1;

export interface HandlerRun {
  kind: 'handler';
  host: Host;
  boot: number;
  handler: number;
  name: HandlerName;
  startedUs: number;
  /** The peer was told to outdate itself; answers that are still to come. */
  asked: boolean;
  answersLeft: number;
}

export function startHandler(world: World, host: Host, handler: number, name: HandlerName): void {
  const spec = host.spec.handlers.find((one) => one.name === name);
  world.observer.story(host.name, `runs ${name}`);
  if (!spec) {
    host.give({ type: 'handler-failed', handler, reason: 'no such handler' });
    return;
  }
  const run: HandlerRun = {
    kind: 'handler', host, boot: host.boot, handler, name, startedUs: world.nowUs, asked: false, answersLeft: 0,
  };
  world.schedule(world.nowUs + spec.delayUs, run);
}

/** Its time is over, or something that it waits for may have happened. */
export function handlerEvent(world: World, run: HandlerRun): void {
  const { host, name } = run;
  if (host.boot !== run.boot) return;
  const spec = host.spec.handlers.find((one) => one.name === name)!;
  if (spec.fails) {
    host.give({ type: 'handler-failed', handler: run.handler, reason: 'could not be run' });
    return;
  }
  let exitCode: number | undefined;
  if (name === 'fence-peer') {
    const peer = world.otherHost(host);
    if (spec.shoots && peer.state !== 'down') {
      world.shoot(peer, REBOOT_US);
      exitCode = spec.exitCode === 'derive' ? 7 : spec.exitCode;
    } else {
      exitCode = spec.exitCode === 'derive' ? fence(world, run, peer) : spec.exitCode;
    }
    if (exitCode === undefined) {
      if (run.answersLeft === 0) world.schedule(world.nowUs + ASK_AGAIN_US, run);
      return;
    }
  } else {
    exitCode = spec.exitCode === 'derive' ? 0 : spec.exitCode;
  }
  world.observer.story(host.name, `${name} exits with ${exitCode}`);
  host.give({ type: 'handler-exited', handler: run.handler, exitCode });
}

/** An exit code, or undefined: not known yet. */
function fence(world: World, run: HandlerRun, peer: Host): number | undefined {
  if (peer.state === 'down') return 5;
  if (world.nowUs - run.startedUs > GIVE_UP_US) return BROKEN;
  if (peer.state === 'paused') {
    run.asked = false;
    run.answersLeft = 0;
    return undefined;
  }
  if (peer.role === Role.Primary) return 6;
  const volumes = peer.node!.resources().flatMap((resource) => resource.volumes);
  const disks = volumes.flatMap((volume) => volume.peers.slice(0, 1).map((one) => one.state.disk));
  if (!run.asked) {
    run.asked = true;
    run.answersLeft = volumes.length;
    const { resource } = peer.spec.config;
    for (const { volume } of volumes) peer.command({ verb: 'outdate', resource, volume }, { by: 'handler', run });
    return volumes.length === 0 ? BROKEN : undefined;
  }
  if (run.answersLeft > 0) return undefined;
  if (disks.every((disk) => disk <= Disk.Inconsistent)) return 3;
  return disks.every((disk) => disk <= Disk.Outdated) ? 4 : BROKEN;
}
