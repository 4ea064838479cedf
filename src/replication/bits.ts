/**
 * How application and replicated writes change the out-of-sync bitmap (sync-and-activity-log.md §3). Bits are cleared here
 * for one reason only: the same data is on both disks, because both said so (bug B050).
 */

import { setInSync, setOutOfSync } from '../metadata/bitmap.js';
import { signal, type Core } from '../model/core.js';
import type { DiskOperation, OperationResult } from '../model/operations.js';
import type { PeerDevice, Request, Volume } from '../model/types.js';
import { Conn, isSyncState } from '../state/states.js';

/** Marks a range (sectors) towards a peer. A diskless volume has nothing to mark on. */
export const markOutOfSync = (device: PeerDevice, sector: number, sectors: number): void => {
  if (markForNotice(device, sector, sectors) > 0 && device.repl === Conn.Ahead) device.hasUnannouncedMarks = true;
};

/** Nobody waits for this read any more; what a disk cannot read is equal to nothing all the same (bugs B031, B160). */
export const markUnreadable = (device: PeerDevice, { sector, sectors }: DiskOperation, result: OperationResult): void => {
  if (!result.ok && result.failure !== 'aborted') markOutOfSync(device, sector, sectors);
};

/** The same for who tells the peer at once, if any bit was newly set: returns how many were. */
export const markForNotice = (device: PeerDevice, sector: number, sectors: number): number =>
  device.bitmap ? setOutOfSync(device.bitmap, sector, sectors) : 0;

/** Both disks hold the same data in this range: the peer has it and so have we. */
export const markWrittenOnBoth = (core: Core, volume: Volume, device: PeerDevice, sector: number, sectors: number): void => {
  if (!device.bitmap) return;
  const cleared = setInSync(device.bitmap, sector, sectors);
  if (cleared > 0 && device.resync) signal(core, { signal: 'bits-cleared', resource: volume.resource, volume: volume.number, peer: device.peer });
};

/** The last act of a write: what each peer may lack is marked, what it has besides and had marked is cleared. */
export const settleBits = (core: Core, volume: Volume, request: Request): void => {
  if (!request.submitted) return;
  for (const device of volume.peers.values()) {
    const part = request.net.find(({ peer }) => peer === device.peer);
    const onBoth = request.local === 'ok' && part !== undefined && part.ok;
    if (!onBoth) {
      markOutOfSync(device, request.sector, request.sectors);
      if (device.resync) signal(core, { signal: 'bits-cleared', resource: volume.resource, volume: volume.number, peer: device.peer });
    }
    // Ahead, the block may have been written since, on this disk alone; also when that is over because the peer's disk went (congestion 210).
    else if (part.setInSync && isSyncState(device.repl)) markWrittenOnBoth(core, volume, device, request.sector, request.sectors);
  }
};
