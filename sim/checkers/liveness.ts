/**
 * Liveness: once faults stop and links heal, every request completes and every replica is UpToDate and connected, without
 * an operator, unless the state truly needs one (I10, I11); and no request fails while a good disk is in reach, the Primary's own or the peer's
 * (bugs B158, B170). An excuse is believed only with its proof: for a split brain, that a rule said so and that the simulator saw both sides go on
 * without each other. A peer that is gone is noticed, however little there is to say to it.
 */

import { Conn, Disk, Role, connName, diskName } from '../../src/state/states.js';
import type { Checker, Setup, WorldView } from '../types.js';
import { recordOf } from '../ghost.js';
import { type Lineage, isRefusal, isSplitBrainDecision } from './lineage.js';
import { volumesOf } from '../spec.js';

/** What a node says of requests that wait for data since on-no-data-accessible is suspend-io. */
const WAITS_FOR_DATA = 'suspended: no data accessible';

/** Beyond what the options allow: a process may be stopped for so long, or its clock late. */
const SILENCE_SLACK_US = 20_000_000;

/** A request may be this young when the run ends, if the application still works. */
const REQUEST_AGE_US = 10_000_000;

export function liveness(setup: Setup, lineage: Lineage): Checker {
  const report = (detail: string, world: WorldView): void => world.report({ property: 'liveness', atUs: world.nowUs, detail });

  const waitsForData = setup.hosts.every(({ config }) => config.onNoDataAccessible === 'suspend-io');
  let toldToGoOn = false;
  /** Hosts of which a disk has failed anything. */
  const badDisks = new Set<number>();
  /** Since when each host has had the good disk of its peer in reach, as both see it, and its own as Primary, by volume. */
  const inReachSinceUs = setup.hosts.map(() => new Map<number, number>());
  const ownSinceUs = setup.hosts.map(() => new Map<number, number>());
  /** Since when each host is down, or up. */
  const downSinceUs = setup.hosts.map((): number | undefined => undefined);
  const upSinceUs = setup.hosts.map(() => 0);
  /** However it learns of it: by the end of a stream, by a ping that is not answered. */
  const noticesDeath = (host: number, world: WorldView): void => {
    const peerDownUs = downSinceUs[lineage.peerOf(host)];
    if (peerDownUs === undefined || downSinceUs[host] !== undefined) return;
    const forUs = world.nowUs - Math.max(peerDownUs, upSinceUs[host]!);
    if (forUs < SILENCE_SLACK_US) return;
    const { name, config } = world.hosts[host]!;
    const { pingInt, pingTimeout, timeout } = config.peers[0]!.net;
    if (forUs < SILENCE_SLACK_US + (10 * pingInt + pingTimeout + timeout) * 100_000) return;
    const { volume } = volumesOf(setup.hosts[host]!)[0]!;
    if (lineage.status(host, volume).conn < Conn.Connected) return;
    report(`${name} says ${connName(lineage.status(host, volume).conn as Conn)}, and its peer has been down for ${(forUs / 1_000_000).toFixed(1)} s`, world);
  };
  const noteGood = (since: Map<number, number>, volume: number, isGood: boolean, nowUs: number): void => {
    if (!isGood) since.delete(volume);
    else if (!since.has(volume)) since.set(volume, nowUs);
  };
  const noteReach = (volume: number, nowUs: number): void => {
    for (const host of setup.hosts.keys()) {
      const [own, peer] = [lineage.status(host, volume), lineage.status(lineage.peerOf(host), volume)];
      const isInReach = own.conn >= Conn.Connected && own.pdsk === Disk.UpToDate && peer.conn >= Conn.Connected && peer.disk === Disk.UpToDate;
      noteGood(inReachSinceUs[host]!, volume, isInReach, nowUs);
      noteGood(ownSinceUs[host]!, volume, own.role === Role.Primary && own.disk === Disk.UpToDate, nowUs);
    }
  };

  return {
    property: 'liveness',
    onInput(name, input) {
      if (input.type === 'command' && (input.command.verb === 'resume-io' || input.command.verb === 'options')) toldToGoOn = true;
      if (input.type === 'disk-failed') badDisks.add(lineage.hostPlace(name));
    },
    onHost(name, what, world) {
      for (const since of [...inReachSinceUs, ...ownSinceUs]) since.clear();
      const host = lineage.hostPlace(name);
      // Who has nothing to say gives no sign of life either.
      noticesDeath(lineage.peerOf(host), world);
      downSinceUs[host] = what === 'boot' ? undefined : world.nowUs;
      if (what === 'boot') upSinceUs[host] = world.nowUs;
    },
    onOutput(name, output, world) {
      noticesDeath(lineage.hostPlace(name), world);
      if (output.type === 'observe' && output.event.event === 'state') return noteReach(output.event.volume, world.nowUs);
      if (output.type !== 'app-failed' || output.error !== 'EIO') return;
      const host = lineage.hostPlace(name);
      const { id, volume } = output;
      const pending = recordOf(world.ghost).pending.get(id);
      // Who is told to wait for data waits for it, unless told otherwise. Writes and flushes that were in a disk which is taken away by force fail when
      // another is there (traps 111): the application knows then that it cannot rely on them.
      if (waitsForData && badDisks.size === 0 && !toldToGoOn && pending?.operation === 'read') return report(`${name} fails request ${id} of volume ${volume}, and was told to wait while there is no data`, world);
      const issuedUs = pending?.issuedUs ?? 0;
      for (const [since, place, whose] of [[inReachSinceUs, lineage.peerOf(host), 'of its peer'], [ownSinceUs, host, 'of its own']] as const) {
        if (badDisks.has(place) || (since[host]!.get(volume) ?? Infinity) >= issuedUs) continue;
        return report(`${name} fails request ${id} of volume ${volume}, although the good disk ${whose} was in reach all the time`, world);
      }
    },
    onEnd(world) {
      const excuse = volumesOf(setup.hosts[0]!).map(({ volume }) => excuseOf(volume)).find((one) => one !== undefined);
      if (excuse !== undefined) world.reached(`ended in ${excuse}`);
      for (const [place, host] of world.hosts.entries()) {
        if (host.state !== 'running') report(`${host.name} is ${host.state} in the end`, world);
        for (const { volume } of volumesOf(setup.hosts[place]!)) {
          const status = lineage.status(place, volume);
          const what = `volume ${volume} on ${host.name}`;
          if (status.disk !== Disk.UpToDate && excuse === undefined) {
            report(`${what} is ${diskName(status.disk as Disk)} in the end, not UpToDate${why(host.name, world)}`, world);
          }
          if (status.conn !== Conn.Connected && excuse === undefined) {
            report(`${what} is ${connName(status.conn as Conn)} in the end, not Connected${why(host.name, world)}`, world);
          }
        }
      }
      const ghost = recordOf(world.ghost);
      // With two bad disks a Primary that is told to wait for data waits until an operator says which of them to go on with.
      const waits = (host: number): boolean => excuse === 'two bad disks' && frozen(world.hosts[host]!.name, world) === WAITS_FOR_DATA;
      const stuck = [...ghost.pending.values()].filter((request) => world.nowUs - request.issuedUs > REQUEST_AGE_US && !waits(request.host));
      const [oldest] = stuck;
      if (oldest === undefined) return;
      const host = world.hosts[oldest.host]!;
      const age = ((world.nowUs - oldest.issuedUs) / 1_000_000).toFixed(1);
      const which = `a ${oldest.operation} on ${host.name} issued ${age} s ago`;
      report(`${stuck.length} requests hang, the oldest is ${which}${why(host.name, world)}`, world);
    },
  };

  /** What left the nodes apart, or without a good disk, when something else than the nodes' word proves it right. */
  function excuseOf(volume: number): string | undefined {
    const statuses = [0, 1].map((host) => lineage.status(host, volume));
    // The only good disk had errors and was kept: only an operator may say which of two bad ones to go on with.
    const keepsBadDisks = setup.hosts.some((host) => volumesOf(host).some(({ disk }) => disk.onIoError === 'pass_on'));
    // One of them may have tried to be attached, and was not taken, as neither could be the other's source.
    const isBad = ({ disk }: (typeof statuses)[number]): boolean => disk === Disk.Inconsistent || disk === Disk.Diskless;
    const refused = lineage.decisions.findLast((decision) => decision.volume === volume)?.decidedBy === 'source-inconsistent';
    if (keepsBadDisks && statuses.every((status) => status.disk === Disk.Inconsistent || (refused && isBad(status)))) return 'two bad disks';
    // Refused: the connection was given up, or the attach.
    if (!statuses.some((status) => status.conn === Conn.StandAlone || status.disk === Disk.Diskless)) return undefined;
    const parted = setup.expectations.splitBrainPossible && [0, 1].every((host) => lineage.parted[host]!.get(volume) === true);
    const lostEnd = setup.expectations.splitBrainPossible && lineage.lostEnd.some((volumes) => volumes.has(volume));
    // A policy may solve it, and still two Primaries must not connect (node-states.md §3.2, first rule).
    const twoPrimaries = statuses.every((status) => status.role === Role.Primary);
    const generations = lineage.generationsSinceSync(volume);
    return lineage.decisions.findLast((decision) => {
      if (decision.volume !== volume) return false;
      // A set remembers three generations before its own. Nodes do not come to a fourth by themselves, only when an operator gives them some.
      if (decision.decidedBy === 'unrelated-data') return isRefusal(decision) && generations.begun >= 4 && generations.given > 0;
      // What such a source has cannot be told from what one has that went on alone (generations/compare.ts).
      if (lostEnd && decision.decidedBy === 'split-brain' && decision.rule.endsWith('b')) return isRefusal(decision);
      if (parted && (decision.decidedBy === 'split-brain' || decision.decidedBy === 'rr-conflict')) return isRefusal(decision);
      // One of two Primaries would have to give up what it shows to its application.
      if (twoPrimaries && decision.decidedBy === 'rr-conflict') return isRefusal(decision);
      if (parted && twoPrimaries) return isSplitBrainDecision(decision);
      // Rules 34-37, 51, 71 need protocol 91, rule 41 needs 101 with a feature (generation-uuids.md §5).
      return decision.decidedBy === 'peer-too-old' && isRefusal(decision) && setup.hosts.some((host) => host.config.protocolMax < 101);
    })?.decidedBy;
  }

  function frozen(host: string, world: WorldView): string | undefined {
    return world.host(host).node?.resources().find(({ frozenReason }) => frozenReason !== undefined)?.frozenReason;
  }

  function why(host: string, world: WorldView): string {
    const reason = frozen(host, world);
    return reason === undefined ? '' : ` (I/O waits: ${reason})`;
  }
}
