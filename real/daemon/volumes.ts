/** The application's side of the driver: volumes as exports, requests with the one who waits for them. */

import type { Application, Driver } from './driver.js';
import { AllocationFlag, OUT_OF_SYNC, type AppError, type Completion, type Export, type Extent, type Refusal, type StatusContext, type Volumes } from '../nbd/exports.js';
import { nextRun } from '../../src/metadata/bitmap.js';
import { without } from '../../src/model/tables.js';
import { Disk, Role, roleName } from '../../src/state/states.js';
import type { PeerView, ResourceView, VolumeView } from '../../src/contract/index.js';

export class ServedVolumes implements Volumes, Application {
  /** The core wants no more requests of a volume, or again. */
  onAdmit: (resource: string, volume: number, on: boolean) => void = () => undefined;
  /** The answers of a pass are all given. */
  onCarriedOut: () => void = () => undefined;
  /** Times of requests; absent where nobody asks for metrics. */
  latencies: { begin(id: number, operation: string): void; end(id: number): void } | undefined = undefined;
  private waiting = new Map<number, Completion>();

  constructor(
    private readonly driver: Driver,
    private readonly minorOf: (resource: string, volume: number) => number | undefined,
  ) {}

  // ---- For the NBD server ------------------------------------------------------------------------------------------------

  list(): Export[] {
    return this.all().map(({ resource, volume }) => exportOf(resource, volume));
  }

  /** By `RESOURCE/VOLUME`, by the resource when it has one volume, by the device's name; the empty name is the only volume there is. */
  find(name: string): Export | Refusal {
    const all = this.all();
    const found = all.filter(({ resource, volume }) => {
      if (name === '') return all.length === 1;
      if (name === `${resource.resource}/${volume.volume}`) return true;
      if (name === resource.resource) return resource.volumes.length === 1;
      const minor = this.minorOf(resource.resource, volume.volume);
      return minor !== undefined && name.replace(/^\/dev\//, '') === `drbd${minor}`;
    })[0];
    if (!found) return { isUnknown: true, reason: name === '' ? 'there is not exactly one volume: say which (NBD_OPT_LIST lists them)' : `there is no export ${name}` };
    const { resource, volume } = found;
    const where = exportOf(resource, volume);
    const state = volume.peers[0]?.state;
    const role = state?.role ?? Role.Secondary;
    if (role !== Role.Primary) return { isUnknown: false, reason: `${where.name} is ${roleName(role)} here, and only a Primary serves (lockadm primary ${where.resource})` };
    if (where.sizeBytes === 0) return { isUnknown: false, reason: `${where.name} has no size: no disk was ever attached` };
    return where;
  }

  opened(where: Export, who: string): void {
    this.driver.give({ type: 'app-opened', resource: where.resource, volume: where.volume, who });
  }

  closed(where: Export, who: string): void {
    this.driver.give({ type: 'app-closed', resource: where.resource, volume: where.volume, who });
  }

  read(where: Export, offsetBytes: number, bytes: number, completion: Completion): void {
    const id = this.expect(completion, 'read');
    this.driver.give({ type: 'app-read', resource: where.resource, volume: where.volume, id, sector: offsetBytes / 512, sectors: bytes / 512 });
  }

  write(where: Export, offsetBytes: number, data: Uint8Array, fua: boolean, completion: Completion): void {
    const id = this.expect(completion, 'write');
    this.driver.give({ type: 'app-write', resource: where.resource, volume: where.volume, id, sector: offsetBytes / 512, data, fua });
  }

  writeZeroes(where: Export, offsetBytes: number, bytes: number, mayUnmap: boolean, completion: Completion): void {
    const id = this.expect(completion, 'write-zeroes');
    this.driver.give({ type: 'app-write-zeroes', resource: where.resource, volume: where.volume, id, sector: offsetBytes / 512, sectors: bytes / 512, mayUnmap });
  }

  discard(where: Export, offsetBytes: number, bytes: number, completion: Completion): void {
    const id = this.expect(completion, 'discard');
    this.driver.give({ type: 'app-discard', resource: where.resource, volume: where.volume, id, sector: offsetBytes / 512, sectors: bytes / 512 });
  }

  flush(where: Export, completion: Completion): void {
    const id = this.expect(completion, 'flush');
    this.driver.give({ type: 'app-flush', resource: where.resource, volume: where.volume, id });
  }

  status(where: Export, context: StatusContext, offsetBytes: number, bytes: number, extentsMax: number): Extent[] {
    const { resource, volume } = where;
    const peers = this.volume(where)?.peers ?? [];
    if (context === 'lockstep:out-of-sync') return lackedBy(peers, offsetBytes, bytes, extentsMax);
    // A disk that is not good says nothing about what a read would find.
    const disk = peers[0]?.state.disk === Disk.UpToDate ? this.driver.disk(resource, volume) : undefined;
    if (!disk) return [{ bytes, flags: 0 }];
    const pieces = disk.stored(offsetBytes, Math.min(bytes, LOOK_BYTES_MAX), extentsMax);
    return pieces.map((piece) => ({ bytes: piece.bytes, flags: piece.isHole ? AllocationFlag.Hole | AllocationFlag.Zero : 0 }));
  }

  zeroesFast({ resource, volume }: Export): boolean {
    return this.driver.disk(resource, volume)?.zeroesFast ?? false;
  }

  // ---- For the driver ----------------------------------------------------------------------------------------------------

  done(id: number, data: Uint8Array | undefined): void {
    this.answered(id).done(data);
  }

  failed(id: number, error: AppError): void {
    this.answered(id).failed(error);
  }

  admit(resource: string, volume: number, on: boolean): void {
    this.onAdmit(resource, volume, on);
  }

  carriedOut(): void {
    this.onCarriedOut();
  }

  /** Requests that the core has not answered. */
  get outstanding(): number {
    return this.waiting.size;
  }

  private expect(completion: Completion, operation: string): number {
    const id = this.driver.nextRequest();
    this.latencies?.begin(id, operation);
    this.waiting.set(id, completion);
    return id;
  }

  private answered(id: number): Completion {
    const completion = this.waiting.get(id);
    if (!completion) throw new Error(`the core answers request ${id}, which is not outstanding`);
    this.waiting = without(this.waiting, id);
    this.latencies?.end(id);
    return completion;
  }

  private volume({ resource, volume }: Export): VolumeView | undefined {
    return this.all().find((one) => one.resource.resource === resource && one.volume.volume === volume)?.volume;
  }

  private all(): { resource: ResourceView; volume: VolumeView }[] {
    return this.driver.node.resources().flatMap((resource) => resource.volumes.map((volume) => ({ resource, volume })));
  }
}

/** A filesystem in memory looks at each page. */
const LOOK_BYTES_MAX = 1 << 30;
const BIT_BYTES = 4096;

/** Without a disk the peer has what there is. */
function lackedBy(peers: readonly PeerView[], offsetBytes: number, bytes: number, extentsMax: number): Extent[] {
  const bitmap = peers[0]?.bitmap;
  if (!bitmap) return [{ bytes, flags: 0 }];
  const extents: Extent[] = [];
  const end = offsetBytes + bytes;
  for (let at = offsetBytes; at < end && extents.length < extentsMax; ) {
    const bit = Math.floor(at / BIT_BYTES);
    // The device may have become smaller than the export was when it was opened.
    const run = bit < bitmap.bits ? nextRun(bitmap, bit) : { set: false, bits: Infinity };
    const runEnd = Math.min(end, (bit + run.bits) * BIT_BYTES);
    extents.push({ bytes: runEnd - at, flags: run.set ? OUT_OF_SYNC : 0 });
    at = runEnd;
  }
  return extents;
}

const exportOf = (resource: ResourceView, volume: VolumeView): Export => ({
  resource: resource.resource,
  volume: volume.volume,
  name: `${resource.resource}/${volume.volume}`,
  description: `volume ${volume.volume} of the mirrored resource ${resource.resource}`,
  sizeBytes: volume.sizeSectors * 512,
});
