/**
 * The handlers that a core runs: programs of the host that take their time and exit with a code. What `derive` means for
 * fence-peer: the answer that a good handler gives, which asks the peer over a management network that no fault touches
 * (node-states.md §8.9).
 */

import type { HandlerName } from '../../src/contract/index.js';
import { Disk, Role } from '../../src/state/states.js';
import { configOf } from '../spec.js';
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
  /** It exited. */
  over: boolean;
  /** It waits in the clock. */
  sleeps: boolean;
  /** The boot of the peer that was told to outdate itself; -1 when none is. */
  askedBoot: number;
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
    kind: 'handler', host, boot: host.boot, handler, name, startedUs: world.nowUs, over: false, sleeps: true, askedBoot: -1, answersLeft: 0,
  };
  world.schedule(world.nowUs + spec.delayUs, run);
}

/** It has slept enough. */
export function handlerWakes(world: World, run: HandlerRun): void {
  run.sleeps = false;
  handlerGoesOn(world, run);
}

/** The peer answered one of its commands. */
export function handlerAnswered(world: World, run: HandlerRun): void {
  run.answersLeft--;
  if (run.answersLeft === 0) handlerGoesOn(world, run);
}

function handlerGoesOn(world: World, run: HandlerRun): void {
  const { host, name } = run;
  if (run.over || host.boot !== run.boot) return;
  const spec = host.spec.handlers.find((one) => one.name === name)!;
  if (spec.fails) {
    run.over = true;
    host.give({ type: 'handler-failed', handler: run.handler, reason: 'could not be run' });
    return;
  }
  const exitCode = name === 'fence-peer' ? fencePeer(world, run, spec) : spec.exitCode === 'derive' ? 0 : spec.exitCode;
  if (exitCode === undefined) {
    if (!run.sleeps) world.schedule(world.nowUs + ASK_AGAIN_US, run);
    run.sleeps = true;
    return;
  }
  run.over = true;
  world.observer.story(host.name, `${name} exits with ${exitCode}`);
  host.give({ type: 'handler-exited', handler: run.handler, exitCode });
}

/** An exit code, or undefined: not known yet. */
function fencePeer(world: World, run: HandlerRun, spec: Host['spec']['handlers'][number]): number | undefined {
  const peer = world.otherHost(run.host);
  if (spec.shoots && peer.state !== 'down') {
    world.shoot(peer, REBOOT_US);
    return spec.exitCode === 'derive' ? 7 : spec.exitCode;
  }
  return spec.exitCode === 'derive' ? outdatePeer(world, run, peer) : spec.exitCode;
}

/** Tells the peer to outdate itself, again and again while it still believes itself connected, or cannot be reached. */
function outdatePeer(world: World, run: HandlerRun, peer: Host): number | undefined {
  if (peer.state === 'down') return 5;
  if (world.nowUs - run.startedUs > GIVE_UP_US) return BROKEN;
  if (peer.state === 'paused') return undefined;
  if (peer.role === Role.Primary) return 6;
  const volumes = peer.node!.resources().flatMap((resource) => resource.volumes);
  if (world.operators.isComingUp(peer) || volumes.length === 0) return undefined;
  const asked = run.askedBoot === peer.boot;
  if (asked && run.answersLeft > 0) return undefined;
  if (asked) {
    const disks = volumes.map((volume) => volume.peers[0]!.state.disk);
    if (disks.every((disk) => disk <= Disk.Inconsistent)) return 3;
    if (disks.every((disk) => disk <= Disk.Outdated)) return 4;
    run.askedBoot = -1;
    return undefined;
  }
  // A peer that holds us to be outdated has newer data: a good handler leaves it alone, and we are not to be promoted.
  if (volumes.some((volume) => [Disk.Inconsistent, Disk.Outdated].some((disk) => disk === volume.peers[0]!.state.pdsk))) return BROKEN;
  run.askedBoot = peer.boot;
  run.answersLeft = volumes.length;
  for (const { volume } of volumes) peer.command({ verb: 'outdate', resource: configOf(peer.spec, volume).resource, volume }, { by: 'handler', run });
  return undefined;
}
