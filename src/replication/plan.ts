/**
 * Where a request goes: decided once, on one snapshot, as one plan (bug B002: "mirror it?" and "announce it?" were asked at
 * two moments, and in between the answer to both became no). Pure.
 */

import type { Volume } from '../model/types.js';
import { Conn, Disk, Role, type State } from '../state/states.js';

export interface WritePlan {
  /** Send the data to this peer. */
  mirror: boolean;
  /** Mark it out of sync now, and tell the peer if that set a new bit (P_OUT_OF_SYNC). */
  announce: boolean;
  /** The peer may clear bits for it (MAY_SET_IN_SYNC). */
  maySetInSync: boolean;
}

/** May this disk be written: attached and its metadata in use? */
export const hasUsableDisk = (disk: Disk): boolean => disk >= Disk.Inconsistent && disk !== Disk.DUnknown;

/** Is there a disk that takes reads and writes now? */
export const hasDisk = (volume: Volume): boolean => volume.backing !== undefined && !volume.backing.failed && hasUsableDisk(volume.disk);

/** A write towards one peer (wire-protocol.md §5.1, sync-and-activity-log.md §5.2). */
export const planWrite = (state: State, protocolVersion: number): WritePlan => {
  const mirror =
    state.conn >= Conn.Connected &&
    (state.pdsk === Disk.UpToDate || (state.pdsk >= Disk.Inconsistent && state.conn >= Conn.WFBitMapT && state.conn < Conn.Ahead));
  return {
    mirror,
    announce: !mirror && protocolVersion >= 96 && (state.conn === Conn.Ahead || state.conn === Conn.WFBitMapS),
    maySetInSync: mirror && state.conn >= Conn.SyncSource && state.conn <= Conn.PausedSyncT,
  };
};

/** Is there good data to write to: a write with no UpToDate disk on either side fails (sync-and-activity-log.md §5.2). */
export const mayWrite = (state: State): boolean => state.disk === Disk.UpToDate || (state.conn >= Conn.Connected && state.pdsk === Disk.UpToDate);

/** Which disk may be read (sync-and-activity-log.md §5.1); of `either`, read-balancing takes one. */
export const planRead = (state: State, hasBitsInRange: boolean, localFailed: boolean): 'local' | 'either' | 'remote' | 'nowhere' => {
  const local = !localFailed && (state.disk === Disk.UpToDate || (state.disk === Disk.Inconsistent && !hasBitsInRange && isBeingSynced(state)));
  const remote = state.conn >= Conn.Connected && state.pdsk === Disk.UpToDate;
  if (local) return remote && !hasBitsInRange ? 'either' : 'local';
  return remote ? 'remote' : 'nowhere';
};

/**
 * An Inconsistent disk may be read where it has no bits only in the middle of a resync. Connected without one (on-io-error pass_on), it is
 * not told of what another Primary writes.
 */
const isBeingSynced = (state: State): boolean => state.pdsk === Disk.UpToDate && state.conn > Conn.Connected;

/** Does a write on this disk need our activity log although the peer is the primary (sync-and-activity-log.md §2)? */
export const isOnlyDisk = (state: State): boolean => state.pdsk < Disk.Inconsistent && state.peer === Role.Primary;
