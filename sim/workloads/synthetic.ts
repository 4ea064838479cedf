/**
 * Clients that read and write and flush, each with its own random stream and up to `queueDepth` requests in flight. Requests
 * may overlap, within a client and between clients: what comes of it is the ghost's affair. The bytes come from the ghost too.
 *
 * Half of the writes are whole aligned blocks of 4 KiB, as filesystems write them; the rest start and end anywhere, so that
 * bits are rounded, extents are crossed and blocks are shared.
 */

import type { RandomStream, Workload, WorkloadRequest, WorkloadSpec } from '../types.js';

const BLOCK_SECTORS = 8;
/** The most that a discard adds to a range: it crosses extents of the activity log. */
const ZEROED_SECTORS = 12_000;
/** After an error or an interruption a client pauses at least this long. */
const BACK_OFF_US = 100_000;
/** A hot spot: this share of the writes goes to this part of the range. */
const HOT_SHARE = { numerator: 4, denominator: 5 };
const HOT_PART = 16;

type Spec = Extract<WorkloadSpec, { kind: 'synthetic' }>;

interface Client {
  random: RandomStream;
  /** Writes since the last flush, and since the last FUA. */
  sinceFlush: number;
  sinceFua: number;
  /** Where a sequential client is. */
  position: number;
}

/** One place of a client's queue: free from `freeAtUs` on, or busy (Infinity). */
interface Slot {
  client: Client;
  freeAtUs: number;
}

/** `volumes` are the numbers of the volumes; each request picks one of them. */
export function syntheticWorkload(spec: Spec, volumes: readonly number[], random: RandomStream): Workload {
  const slots: Slot[] = [];
  for (let number = 0; number < spec.clients; number++) {
    const own = random.fork(`client ${number}`);
    const client: Client = { random: own, sinceFlush: 0, sinceFua: 0, position: own.integer(0, spec.sectors - 1) };
    for (let place = 0; place < spec.queueDepth; place++) slots.push({ client, freeAtUs: own.integer(0, 2 * spec.thinkUs) });
  }
  let writesLeft = spec.writes;
  let busy = 0;

  return {
    poll(nowUs) {
      if (writesLeft === 0) return busy === 0 ? { do: 'finished' } : { do: 'blocked' };
      let first: Slot | undefined;
      let firstTag = -1;
      for (let tag = 0; tag < slots.length; tag++) {
        const slot = slots[tag]!;
        if (first === undefined || slot.freeAtUs < first.freeAtUs) {
          first = slot;
          firstTag = tag;
        }
      }
      if (first === undefined || first.freeAtUs === Infinity) return { do: 'blocked' };
      if (first.freeAtUs > nowUs) return { do: 'wait', untilUs: first.freeAtUs };
      const request = draw(spec, volumes, first.client, firstTag);
      if (request.operation === 'write') writesLeft--;
      first.freeAtUs = Infinity;
      busy++;
      return { do: 'issue', request };
    },
    completed(request, ok, nowUs) {
      release(request.tag, nowUs, ok ? 0 : BACK_OFF_US);
    },
    interrupted(nowUs) {
      for (let tag = 0; tag < slots.length; tag++) if (slots[tag]!.freeAtUs === Infinity) release(tag, nowUs, BACK_OFF_US);
    },
  };

  function release(tag: number, nowUs: number, atLeastUs: number): void {
    const slot = slots[tag]!;
    slot.freeAtUs = nowUs + Math.max(atLeastUs, slot.client.random.integer(0, 2 * spec.thinkUs));
    busy--;
  }
}

function draw(spec: Spec, volumes: readonly number[], client: Client, tag: number): WorkloadRequest {
  const { random } = client;
  const volume = volumes.length === 1 ? volumes[0]! : random.pick(volumes);
  if (spec.flushEvery > 0 && client.sinceFlush >= spec.flushEvery) {
    client.sinceFlush = 0;
    return { operation: 'flush', volume, sector: 0, sectors: 0, fua: false, tag };
  }
  const read = random.chance(spec.readShare.numerator, spec.readShare.denominator);
  const { sector, sectors } = range(spec, client);
  const zeros = !read && spec.zerosOneIn > 0 && random.chance(1, spec.zerosOneIn);
  if (zeros) return { operation: 'write', volume, ...zeroedRange(spec, client, sector, sectors), fua: false, zeros: random.pick(['discard', 'discard', 'zeroes', 'zeroes-unmap'] as const), tag };
  if (read) return { operation: 'read', volume, sector, sectors, fua: false, tag };
  client.sinceFlush++;
  client.sinceFua++;
  const fua = spec.fuaEvery > 0 && client.sinceFua >= spec.fuaEvery;
  if (fua) client.sinceFua = 0;
  return { operation: 'write', volume, sector, sectors, fua, tag };
}

function range(spec: Spec, client: Client): { sector: number; sectors: number } {
  const { random } = client;
  const end = spec.firstSector + spec.sectors;
  const whole = random.chance(1, 2);
  let sectors = whole ? BLOCK_SECTORS : random.integer(1, spec.maxRequestSectors);
  let sector = spec.firstSector + start(spec, client);
  if (whole) sector -= sector % BLOCK_SECTORS;
  sector = Math.max(sector, spec.firstSector);
  sectors = Math.min(sectors, end - sector);
  client.position = sector + sectors - spec.firstSector;
  return { sector, sectors };
}

/** What is given up is often more than what is written, and often in large pieces. */
function zeroedRange(spec: Spec, client: Client, sector: number, sectors: number): { sector: number; sectors: number } {
  const { random } = client;
  const more = random.pick([0, 0, 64, 1024, ZEROED_SECTORS] as const);
  return { sector, sectors: Math.min(sectors + random.integer(0, more), spec.firstSector + spec.sectors - sector) };
}

/** Where in the range the next request starts. */
function start(spec: Spec, client: Client): number {
  const { random } = client;
  switch (spec.pattern) {
    case 'random':
      return random.integer(0, spec.sectors - 1);
    case 'sequential':
      return client.position >= spec.sectors ? 0 : client.position;
    case 'hot-spot': {
      const hot = random.chance(HOT_SHARE.numerator, HOT_SHARE.denominator);
      return random.integer(0, hot ? Math.max(1, Math.floor(spec.sectors / HOT_PART)) - 1 : spec.sectors - 1);
    }
    default:
      return spec.pattern satisfies never;
  }
}
