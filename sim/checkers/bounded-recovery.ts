/**
 * Bounded recovery: after the crash of an active Primary its attach marks at most the active set beyond what its bitmap on
 * disk already held, and the resync moves at most what either side had marked, however large the device. Nor is anything marked that nobody
 * had a reason to mark, or all of it synced where bitmaps say what differs (I14).
 */

import type { VolumeView } from '../../src/contract/index.js';
import { Conn, Disk } from '../../src/state/states.js';
import { BITS_PER_AL_EXTENT, nextSetBit } from '../../src/metadata/bitmap.js';
import { recordOf } from '../ghost.js';
import type { Checker, FaultKind, Setup, WorldView } from '../types.js';
import { writtenRange } from './image.js';
import type { Lineage } from './lineage.js';
import { readStoredMetadata, volumeView } from './marks.js';
import { volumesOf } from '../spec.js';

/** Rules by which everything is synced, whatever the bitmaps say (generation-uuids.md §5, |result| = 2; ambiguous split brain). */
const FULL_SYNC_RULES = ['20', '30', '60', '80', '100'];

/** From this protocol version on rules 51 and 71 see that a sync UUID was lost (generation-uuids.md §5). */
const TELLS_LOST_SYNC_UUID = 96;

/** Operators' orders, and what befalls a disk, after which more may be marked, or is, than was written. */
const markingVerbs = ['invalidate', 'invalidate-remote', 'resize', 'new-current-uuid'];
const markingFaults: readonly FaultKind[] = ['disk-error', 'latent-error', 'hang-disk', 'corrupt', 'resize-disk'];

/** Does nothing in this run mark more than writes and activity logs do? */
function isPlain({ schedule, prepare, afterStorm, initial, hosts }: Setup): boolean {
  const orders = [...prepare, ...afterStorm, ...schedule.flatMap(({ action }) => (action.do === 'command' ? [action] : []))].map(({ command }) => command);
  const marks = orders.some((command) => markingVerbs.includes(command.verb) || (command.verb === 'primary' && command.force));
  return initial === 'synced' && !marks && !schedule.some(({ action }) => markingFaults.includes(action.do)) && hosts.every((host) => volumesOf(host).every(({ disk }) => disk.alUpdates));
}

export function boundedRecovery(setup: Setup, lineage: Lineage): Checker {
  /** Bits in the bitmap on disk when a Primary crashed, by host and volume, until it is attached again. */
  const storedBits = setup.hosts.map(() => new Map<number, number>());
  /** Bits in memory when each side entered the bitmap exchange. */
  const ownBits = setup.hosts.map(() => new Map<number, number>());
  /** Blocks of the application's unanswered writes: frozen or held back ones are on no disk yet, and mark nothing before they go on. */
  const unanswered = setup.hosts.map(() => new Map<number, { volume: number; blocks: number }>());
  /** Blocks that the application may have marked there since then. */
  const writtenSince = setup.hosts.map(() => new Map<number, number>());
  const activeSetBits = setup.expectations.activeSetExtents * BITS_PER_AL_EXTENT;
  const isStrict = isPlain(setup);
  /** An activity log was replayed: whole extents are marked from now on. */
  let hasReplayed = false;
  const wasAttached = setup.hosts.map(() => new Set<number>());

  const weight = (world: WorldView, host: number, volume: number): number | undefined =>
    volumeView(world.hosts[host]!, volume)?.peers[0]?.bitmap?.weight;

  return {
    property: 'bounded-recovery',
    onHost(name, what, world) {
      if (what === 'boot') return;
      const host = lineage.hostPlace(name);
      unanswered[host]!.clear();
      if (volumesOf(setup.hosts[host]!).some(({ volume }) => (volumeView(world.hosts[host]!, volume)?.peers[0]?.state.conn ?? 0) >= Conn.Ahead)) world.reached('crash while ahead');
      for (const { volume } of volumesOf(setup.hosts[host]!)) {
        noteStored(host, volume, world);
      }
    },
    onInput(name, input) {
      const range = writtenRange(input);
      if (!range) return;
      const host = lineage.hostPlace(name);
      const blocks = blocksTouched(range.sector, range.sectors);
      writtenSince[host]!.set(range.volume, (writtenSince[host]!.get(range.volume) ?? 0) + blocks);
      unanswered[host]!.set(range.id, { volume: range.volume, blocks });
    },
    onCompletion({ host, id }) {
      unanswered[lineage.hostPlace(host)]!.delete(id);
    },
    onOutput(name, output, world) {
      if (output.type !== 'observe') return;
      const { event } = output;
      const host = lineage.hostPlace(name);
      if (event.event === 'state') {
        const attached = event.from.disk <= Disk.Attaching && event.to.disk > Disk.Attaching;
        if (attached) checkAttach(host, event.volume, world);
        // It has marked what the log said, and could not empty the log: the next attach begins with these marks.
        if (event.from.disk === Disk.Attaching && event.to.disk === Disk.Diskless && storedBits[host]!.has(event.volume)) noteStored(host, event.volume, world);
        // Only the first attach finds metadata that nobody has used.
        if (attached) hasReplayed ||= wasAttached[host]!.has(event.volume);
        if (attached) wasAttached[host]!.add(event.volume);
        // After a resize both begin with what they have, without an exchange: what is new is marked on either side.
        const begins = event.to.conn === Conn.WFBitMapS || event.to.conn === Conn.WFBitMapT || event.to.conn === Conn.SyncSource || event.to.conn === Conn.WFSyncUUID;
        const exchanges = event.from.conn <= Conn.Connected && begins;
        // Without an exchange: what either side had marked when the one stopped mirroring, and what was written since.
        const partsWays = event.from.conn < Conn.Ahead && event.to.conn >= Conn.Ahead;
        if (event.to.conn === Conn.Ahead && partsWays) world.reached(event.from.conn === Conn.Connected ? 'pulled ahead' : 'pulled ahead in the middle of a resync');
        if (exchanges || partsWays) {
          ownBits[host]!.set(event.volume, weight(world, host, event.volume) ?? 0);
          if (isStrict) checkMarks(host, event.volume, world);
          const open = [...unanswered[host]!.values()].reduce((sum, { volume, blocks }) => sum + (volume === event.volume ? blocks : 0), 0);
          writtenSince[host]!.set(event.volume, open + blocksInFlight(volumeView(world.hosts[host]!, event.volume)));
        }
      }
      if (event.event === 'resync' && event.what === 'started') checkResync(host, event.volume, event.totalBits, world);
    },
  };

  function noteStored(host: number, volume: number, world: WorldView): void {
    storedBits[host]!.delete(volume);
    const metadata = readStoredMetadata(world.hosts[host]!, volume);
    if (typeof metadata !== 'string') storedBits[host]!.set(volume, metadata.countBits());
  }

  function checkAttach(host: number, volume: number, world: WorldView): void {
    const before = storedBits[host]!.get(volume);
    const now = weight(world, host, volume);
    storedBits[host]!.delete(volume);
    if (before === undefined || now === undefined || now <= before + activeSetBits) return;
    const marks = `${world.hosts[host]!.name} marks ${now} blocks of volume ${volume} when it attaches after a crash`;
    const detail = `${marks}; ${before} were marked on disk, and the active set has ${activeSetBits}`;
    world.report({ property: 'bounded-recovery', atUs: world.nowUs, detail });
  }

  /** What is marked was written once, or lies in an extent of the activity log where something was. */
  function checkMarks(host: number, volume: number, world: WorldView): void {
    const bitmap = volumeView(world.hosts[host]!, volume)?.peers[0]?.bitmap;
    if (bitmap === undefined || bitmap.weight === 0) return;
    // Everything was marked once, and what is left of it may still be: nodes that old do not tell a sync UUID that was lost from data of long ago.
    const isOld = setup.hosts.some(({ config }) => config.protocolMax < TELLS_LOST_SYNC_UUID);
    if (isOld && lineage.decisions.some((decision) => decision.volume === volume && FULL_SYNC_RULES.includes(decision.rule))) return;
    const written = new Set(recordOf(world.ghost).blocks(volume));
    const extents = new Set<number>();
    if (hasReplayed) for (const block of written) extents.add(Math.floor(block / BITS_PER_AL_EXTENT));
    for (let bit = nextSetBit(bitmap, 0); bit !== -1; bit = nextSetBit(bitmap, bit + 1)) {
      if (written.has(bit) || extents.has(Math.floor(bit / BITS_PER_AL_EXTENT))) continue;
      const detail = `${world.hosts[host]!.name} has ${bitmap.weight} blocks of volume ${volume} marked, also block ${bit}, which nobody ever wrote`;
      return world.report({ property: 'bounded-recovery', atUs: world.nowUs, detail });
    }
  }

  function checkResync(host: number, volume: number, totalBits: number, world: WorldView): void {
    const peer = lineage.peerOf(host);
    const [own, other] = [ownBits[host]!.get(volume), ownBits[peer]!.get(volume)];
    const rule = lineage.decisions.findLast((decision) => decision.volume === volume)?.rule ?? '';
    if (own === undefined || other === undefined || (!isStrict && FULL_SYNC_RULES.includes(rule))) return;
    if ([host, peer].some((one) => lineage.orderAgainst(one, volume) !== undefined)) return;
    const since = writtenSince.reduce((sum, counts) => sum + (counts.get(volume) ?? 0), 0);
    if (totalBits <= own + other + since) return;
    const detail = `the resync of volume ${volume} has ${totalBits} blocks, but the two sides had marked ${own} and ${other} (rule ${rule})`;
    world.report({ property: 'bounded-recovery', atUs: world.nowUs, detail });
  }
}

const BLOCK_SECTORS = 8;

const blocksTouched = (sector: number, sectors: number): number =>
  Math.floor((sector + sectors - 1) / BLOCK_SECTORS) - Math.floor(sector / BLOCK_SECTORS) + 1;

const blocksInFlight = (view: VolumeView | undefined): number =>
  (view?.inFlight ?? []).reduce((sum, { sector, sectors }) => sum + blocksTouched(sector, sectors), 0);
