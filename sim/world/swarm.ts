/**
 * Swarm testing: each run switches a random subset of the fault kinds on and draws its schedule from these alone, since a run
 * with everything on seldom gets deep into anything (design: "Faults are data"). Pure: what comes out is the schedule.
 */

import type { Command } from '../../src/contract/index.js';
import type { Fault, FaultAction, FaultKind, RandomStream, StreamKind, Trigger } from '../types.js';

/** What a scenario leaves to chance. Times in microseconds of the storm. */
export interface SwarmOptions {
  /** Two hosts; the first one is the Primary to begin with. */
  hosts: readonly string[];
  durationUs: number;
  /** Kinds that this schedule may use, e.g. what `drawSwarm` returned. */
  kinds: readonly FaultKind[];
  /** Mean time between two faults. */
  meanGapUs: number;
  /** How long a fault that goes on lasts, at most; most are much shorter. */
  longestUs: number;
  /** A host that crashes or loses power comes back within this time. */
  longestRestartUs: number;
  /** The part of the data device that disk faults hit. */
  firstSector: number;
  sectors: number;
  /** What operators may do; `command` needs at least one. */
  commands: readonly { host: string; command: Command }[];
  /** One-way cuts (a host that hears and is not heard) as well as both ways. */
  oneWayCuts: boolean;
  /** Several hosts may lose power at the same instant. */
  togetherLosePower: boolean;
  /** One fault in so many waits for an event (the nth packet of a type, the nth disk operation); 0: none. */
  atEventOneIn: number;
}

/** Packets whose nth occurrence is worth a fault: handshake, data path, resync. */
const eventPackets = [
  'P_DATA', 'P_BARRIER', 'P_BARRIER_ACK', 'P_WRITE_ACK', 'P_RECV_ACK', 'P_UUIDS', 'P_STATE', 'P_SIZES', 'P_SYNC_UUID', 'P_PROTOCOL',
  'P_AUTH_CHALLENGE', 'P_AUTH_RESPONSE', 'P_PROTOCOL_UPDATE', 'P_SYNC_PARAM89', 'P_RS_CANCEL', 'P_BITMAP', 'P_COMPRESSED_BITMAP', 'P_RS_DATA_REQUEST', 'P_RS_DATA_REPLY', 'P_RS_WRITE_ACK', 'P_PING', 'P_PING_ACK', 'P_STATE_CHG_REQ',
  'P_STATE_CHG_REPLY', 'P_CONN_ST_CHG_REQ', 'P_CONN_ST_CHG_REPLY', 'P_OUT_OF_SYNC', 'P_TRIM', 'P_ZEROES', 'P_SUPERSEDED', 'P_RETRY_WRITE',
  'P_DATA_REQUEST', 'P_DATA_REPLY',
  'P_OV_REQUEST', 'P_OV_REPLY', 'P_OV_RESULT', 'P_CSUM_RS_REQUEST', 'P_RS_IS_IN_SYNC', 'P_RS_THIN_REQ', 'P_RS_DEALLOCATED',
] as const;

/** A random subset of the kinds, each with even odds, and at least one. */
export function drawSwarm(random: RandomStream, kinds: readonly FaultKind[]): FaultKind[] {
  const chosen = kinds.filter(() => random.chance(1, 2));
  return chosen.length > 0 || kinds.length === 0 ? chosen : [random.pick(kinds)];
}

/** A schedule for the storm, in the order of its times; faults at events come last. */
export function drawSchedule(random: RandomStream, options: SwarmOptions): Fault[] {
  const kinds = options.kinds.filter((kind) => kind !== 'command' || options.commands.length > 0);
  if (kinds.length === 0) return [];
  const faults: Fault[] = [];
  const atEvents: Fault[] = [];
  let atUs = 0;
  for (;;) {
    atUs += random.integer(1, 2 * options.meanGapUs);
    if (atUs >= options.durationUs) break;
    const action = drawAction(random, options, random.pick(kinds));
    const id = `${action.do}-${faults.length + atEvents.length + 1}`;
    if (options.atEventOneIn > 0 && random.chance(1, options.atEventOneIn)) {
      atEvents.push({ id, trigger: drawEvent(random, options), action });
    } else {
      faults.push({ id, trigger: { atUs }, action });
    }
  }
  return [...faults, ...atEvents];
}

/** One fault's action of this kind. */
export function drawAction(random: RandomStream, options: SwarmOptions, kind: FaultKind): FaultAction {
  const host = random.pick(options.hosts);
  const [from, to] = random.chance(1, 2) ? [options.hosts[0]!, options.hosts[1]!] : [options.hosts[1]!, options.hosts[0]!];
  switch (kind) {
    case 'crash':
      return { do: 'crash', host, restartAfterUs: drawSpan(random, options.longestRestartUs) };
    case 'power-loss': {
      const all = options.togetherLosePower && random.chance(1, 3);
      return {
        do: 'power-loss',
        hosts: all ? [...options.hosts] : [host],
        restartAfterUs: drawSpan(random, options.longestRestartUs),
        tear: random.integer(0, 0x7fffffff),
      };
    }
    case 'pause':
      return { do: 'pause', host, forUs: drawSpan(random, options.longestUs) };
    case 'slow-clock':
      return { do: 'slow-clock', host, forUs: drawSpan(random, options.longestUs), lateUs: drawSpan(random, 2_000_000) };
    case 'cut': {
      const oneWay = options.oneWayCuts && random.chance(1, 3);
      return { do: 'cut', from, to, oneWay, ...drawStream(random), forUs: drawSpan(random, options.longestUs) };
    }
    case 'reset':
      return { do: 'reset', from, to, ...drawStream(random) };
    case 'stall':
      return { do: 'stall', from, to, ...drawStream(random), forUs: drawSpan(random, options.longestUs) };
    case 'garble':
      return { do: 'garble', from, to, times: random.integer(1, 3) };
    case 'slow-link':
      return {
        do: 'slow-link', from, to,
        forUs: drawSpan(random, options.longestUs),
        latencyUs: random.integer(1000, 300_000),
        bytesPerSecond: random.integer(50_000, 10_000_000),
      };
    case 'disk-error': {
      const { firstSector, sectors } = drawRange(random, options);
      const operation = random.pick(['read', 'write', 'write', 'flush'] as const);
      return { do: 'disk-error', host, area: 'data', operation, firstSector, sectors, times: random.integer(1, 3) };
    }
    case 'latent-error': {
      const { firstSector, sectors } = drawRange(random, options);
      return { do: 'latent-error', host, firstSector, sectors: Math.min(64, sectors) };
    }
    case 'corrupt':
      return { do: 'corrupt', host, firstSector: options.firstSector + random.integer(0, options.sectors - 1), sectors: 1 };
    case 'resize-disk':
      return { do: 'resize-disk', host, more: random.integer(1, 2 ** 16), fewer: 0, noise: random.integer(0, 0x7fffffff) };
    case 'slow-disk':
      return { do: 'slow-disk', host, forUs: drawSpan(random, options.longestUs), factor: random.integer(2, 50) };
    case 'hang-disk':
      return { do: 'hang-disk', host, forUs: drawSpan(random, options.longestUs) };
    case 'command': {
      const { host: at, command } = random.pick(options.commands);
      return { do: 'command', host: at, command };
    }
    default:
      return kind satisfies never;
  }
}

/** Short ones are as likely as long ones: the scale is drawn first. */
function drawSpan(random: RandomStream, longestUs: number): number {
  let limitUs = longestUs;
  for (let halvings = random.integer(0, 8); halvings > 0 && limitUs > 2000; halvings--) limitUs = Math.floor(limitUs / 2);
  return random.integer(1000, Math.max(1000, limitUs));
}

function drawStream(random: RandomStream): { stream?: StreamKind } {
  return random.chance(1, 3) ? { stream: random.pick(['data', 'meta'] as const) } : {};
}

function drawRange(random: RandomStream, options: SwarmOptions): { firstSector: number; sectors: number } {
  // Anywhere in a wide range, or everywhere: errors that nothing ever touches teach nothing.
  const sectors = random.chance(1, 2) ? options.sectors : random.integer(1, Math.max(1, options.sectors >> 3));
  return { firstSector: options.firstSector + random.integer(0, options.sectors - sectors), sectors };
}

function drawEvent(random: RandomStream, options: SwarmOptions): Trigger {
  const [from, to] = random.chance(1, 2) ? [options.hosts[0]!, options.hosts[1]!] : [options.hosts[1]!, options.hosts[0]!];
  const delay = random.chance(1, 2) ? {} : { delayUs: random.integer(1, 5000) };
  const nth = drawNth(random);
  if (random.chance(1, 2)) return { onPacket: random.pick(eventPackets), from, to, nth, when: random.pick(['sent', 'delivered'] as const), ...delay };
  return {
    onDiskOperation: random.pick(['write', 'write', 'flush', 'read'] as const),
    host: from,
    area: random.pick(['data', 'meta', 'meta'] as const),
    nth,
    when: random.pick(['issued', 'done'] as const),
    ...delay,
  };
}

/** The first few are where protocols change their mind; some further on. */
const drawNth = (random: RandomStream): number => (random.chance(1, 2) ? random.integer(1, 5) : random.integer(1, 200));
