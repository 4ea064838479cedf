/** What we tell the peer about a volume: sizes, UUIDs, state (wire-protocol.md §3.6-§3.9). The order is the caller's (M1, M2). */

import { protectSent } from '../connection/integrity.js';
import { sendPacket } from '../connection/send.js';
import { protocolPacket, syncParamPacket } from '../connection/parameters.js';
import type { Core } from '../model/core.js';
import type { Connection, PeerDevice, Resource, Volume } from '../model/types.js';
import { stateOf } from '../model/view.js';
import { encodeStateWord } from '../state/state-word.js';
import { Disk, type State } from '../state/states.js';
import { hasQueueLimits, maxRequestBytes } from '../wire/context.js';
import { UuidsFlag } from '../wire/packets.js';

/** The word of one change, never re-read later (M2). */
export const sendStateOf = (core: Core, connection: Connection, volume: Volume, state: State): void =>
  sendPacket(core, connection, { packet: 'P_STATE', volume: volume.number, state: encodeStateWord(state) });

/** The present word: where no single change is announced (handshake, role change completed). */
export const sendState = (core: Core, resource: Resource, connection: Connection, volume: Volume, device: PeerDevice): void =>
  sendStateOf(core, connection, volume, stateOf(resource, volume, connection, device));

/** P_UUIDS; not sent without an attached disk. Remembers the number of bits, on which both sides will decide. */
export const sendUuids = (core: Core, connection: Connection, volume: Volume, device: PeerDevice, extraFlags = 0): void => {
  if (!volume.backing || volume.backing.failed || volume.disk < Disk.Negotiating) return;
  const [current, bitmap, history1, history2] = volume.backing.superblock.uuids;
  let flags = extraFlags;
  if (connection.discardMyData) flags |= UuidsFlag.DISCARD_MY_DATA;
  if (volume.crashedPrimary) flags |= UuidsFlag.CRASHED_PRIMARY;
  if (volume.disk === Disk.Negotiating && device.negotiation?.disk === Disk.Inconsistent) flags |= UuidsFlag.INCONSISTENT;
  device.bitsSent = device.bitmap?.weight ?? 0;
  device.toldCurrent = current;
  sendPacket(core, connection, {
    packet: 'P_UUIDS',
    volume: volume.number,
    current,
    bitmap,
    history0: history1,
    history1: history2,
    dirtyBits: device.bitsSent,
    flags,
  });
};

/** P_SIZES. `askBack`: c_size 0 makes the peer answer with its own. */
export const sendSizes = (core: Core, connection: Connection, volume: Volume, askBack = false, ddsFlags = 0): void => {
  const limits = hasQueueLimits({ apv: connection.protocolVersion, features: connection.features, digestBytes: 0 });
  const usable = volume.disk > Disk.Attaching && volume.disk !== Disk.Failed && volume.backing ? volume.backing.layout.usableDataSectors : 0;
  sendPacket(core, connection, {
    packet: 'P_SIZES',
    volume: volume.number,
    diskSectors: usable,
    userSectors: volume.config.sizeSectors,
    currentSectors: askBack ? 0 : volume.sizeSectors,
    maxRequestBytes: maxRequestBytes(connection.protocolVersion),
    queueOrderType: 0,
    ddsFlags,
    ...(limits && {
      limits: {
        physicalBlockBytes: 512,
        logicalBlockBytes: 512,
        alignmentOffsetBytes: 0,
        ioMinBytes: 512,
        ioOptBytes: 0,
        discardEnabled: usable > 0 && volume.backing!.discardGranularitySectors > 0 ? 1 : 0,
        discardZeroesData: 0,
        writeSameCapable: 0,
      },
    }),
  });
};

/** Our half of the handshake after the features, without waiting for the peer's (wire-protocol.md §3.1 steps 3 and 4). */
export const sendParameters = (core: Core, resource: Resource, connection: Connection): void => {
  const protocol = protocolPacket(connection);
  sendPacket(core, connection, protocol);
  protectSent(core, connection, protocol.integrityAlg ?? '');
  for (const volume of resource.volumes.values()) {
    const device = volume.peers.get(connection.peer)!;
    sendPacket(core, connection, syncParamPacket(connection, volume));
    sendSizes(core, connection, volume);
    sendUuids(core, connection, volume, device);
    sendState(core, resource, connection, volume, device);
  }
};
