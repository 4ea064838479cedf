/**
 * The settings that both sides of a connection tell each other right after the features, and that must match
 * (wire-protocol.md §3.4, §3.5). Values are the wire's numbers.
 */

import { defaultDiskOptions } from '../config/defaults.js';
import type { AfterSb0Pri, AfterSb1Pri, AfterSb2Pri, NetOptions, Protocol } from '../config/types.js';
import type { Connection, Volume } from '../model/types.js';
import { Disk } from '../state/states.js';
import { ProtocolFlag } from '../wire/packets.js';
import type { SyncParam89Packet, SyncParamPacket, ProtocolPacket } from '../wire/packets.js';

const PROTOCOL_CODE: Record<Protocol, number> = { A: 1, B: 2, C: 3 };

const AFTER_SB_CODE: Record<AfterSb0Pri | AfterSb1Pri | AfterSb2Pri, number> = {
  disconnect: 0,
  'discard-younger-primary': 1,
  'discard-older-primary': 2,
  'discard-zero-changes': 3,
  'discard-least-changes': 4,
  'discard-local': 5,
  'discard-remote': 6,
  consensus: 7,
  'discard-secondary': 8,
  'call-pri-lost-after-sb': 9,
  'violently-as0p': 10,
};


export function protocolPacket(connection: Connection): ProtocolPacket {
  const { net } = connection.config;
  return {
    packet: 'P_PROTOCOL',
    volume: 0,
    protocol: PROTOCOL_CODE[net.protocol],
    afterSb0Pri: AFTER_SB_CODE[net.afterSb0Pri],
    afterSb1Pri: AFTER_SB_CODE[net.afterSb1Pri],
    afterSb2Pri: AFTER_SB_CODE[net.afterSb2Pri],
    connFlags: (connection.discardMyData ? ProtocolFlag.DISCARD_MY_DATA : 0) | (connection.tentative ? ProtocolFlag.DRY_RUN : 0),
    twoPrimaries: net.allowTwoPrimaries ? 1 : 0,
    ...(connection.protocolVersion >= 87 ? { integrityAlg: net.dataIntegrityAlg } : {}),
  };
}

/**
 * Why the peer's P_PROTOCOL does not match our configuration, or undefined. A mismatch ends StandAlone on the node that notices
 * it; the other one may see no more than a closed stream.
 */
export function checkProtocol(connection: Connection, packet: ProtocolPacket): string | undefined {
  const own = protocolPacket(connection);
  if (packet.protocol !== own.protocol) return `protocol differs: ours ${own.protocol}, the peer's ${packet.protocol}`;
  if (mirrored(packet.afterSb0Pri) !== own.afterSb0Pri) return 'after-sb-0pri differs';
  if (mirrored(packet.afterSb1Pri) !== own.afterSb1Pri) return 'after-sb-1pri differs';
  if (mirrored(packet.afterSb2Pri) !== own.afterSb2Pri) return 'after-sb-2pri differs';
  if ((packet.connFlags & own.connFlags & ProtocolFlag.DISCARD_MY_DATA) !== 0) return 'both nodes want to discard their data';
  if (packet.twoPrimaries !== own.twoPrimaries) return 'allow-two-primaries differs';
  if (packet.integrityAlg !== own.integrityAlg) return `data-integrity-alg differs: ours '${own.integrityAlg}', the peer's '${packet.integrityAlg}'`;
  return undefined;
}

const AFTER_SB_0PRI = [
  'disconnect', 'discard-younger-primary', 'discard-older-primary', 'discard-zero-changes', 'discard-least-changes', 'discard-local', 'discard-remote',
] as const;
const AFTER_SB_1PRI = ['disconnect', 'consensus', 'discard-secondary', 'call-pri-lost-after-sb', 'violently-as0p'] as const;
const AFTER_SB_2PRI = ['disconnect', 'call-pri-lost-after-sb', 'violently-as0p'] as const;

const policyOf = <T extends keyof typeof AFTER_SB_CODE>(code: number, names: readonly T[]): T | undefined => names.find((name) => AFTER_SB_CODE[name] === code);

/** Our half of what the peer's P_PROTOCOL_UPDATE says; undefined when it says what cannot be. */
export function adoptedOptions(packet: ProtocolPacket): Pick<NetOptions, 'protocol' | 'afterSb0Pri' | 'afterSb1Pri' | 'afterSb2Pri' | 'allowTwoPrimaries'> | undefined {
  const protocol = (['A', 'B', 'C'] as const).find((name) => PROTOCOL_CODE[name] === packet.protocol);
  const afterSb0Pri = policyOf(mirrored(packet.afterSb0Pri), AFTER_SB_0PRI);
  const afterSb1Pri = policyOf(packet.afterSb1Pri, AFTER_SB_1PRI);
  const afterSb2Pri = policyOf(packet.afterSb2Pri, AFTER_SB_2PRI);
  const isPossible = protocol && afterSb0Pri && afterSb1Pri && afterSb2Pri && packet.twoPrimaries <= 1;
  return isPossible ? { protocol, afterSb0Pri, afterSb1Pri, afterSb2Pri, allowTwoPrimaries: packet.twoPrimaries === 1 } : undefined;
}

/** discard-local of one node is discard-remote of the other. */
function mirrored(afterSb: number): number {
  if (afterSb === AFTER_SB_CODE['discard-local']) return AFTER_SB_CODE['discard-remote'];
  return afterSb === AFTER_SB_CODE['discard-remote'] ? AFTER_SB_CODE['discard-local'] : afterSb;
}

/** Our resync settings for a volume, in the form of the agreed version; without a disk they are the defaults. */
export function syncParamPacket(connection: Connection, volume: Volume): SyncParamPacket | SyncParam89Packet {
  const options = volume.disk === Disk.Diskless ? defaultDiskOptions : volume.config.disk;
  const { resyncRate, cPlanAhead, cDelayTarget, cFillTarget, cMaxRate } = options;
  const version = connection.protocolVersion;
  const { verifyAlg, csumsAlg } = connection.config.net;
  if (version < 89) return { packet: 'P_SYNC_PARAM', volume: volume.number, resyncRate, ...(version === 88 ? { verifyAlg } : {}) };
  return {
    packet: 'P_SYNC_PARAM89',
    volume: volume.number,
    resyncRate,
    verifyAlg,
    csumsAlg,
    ...(version >= 95 ? { controller: { cPlanAhead, cDelayTarget, cFillTarget, cMaxRate } } : {}),
  };
}
