// What scenario.txt says that operators and applications of this side did, as commands and requests to the core.

import type { ResourceConfig } from '../../src/config/types.js';
import { createNode } from '../../src/node/index.js';
import { write } from '../core/disk.js';
import { kibOf, type Deed } from './recording.js';
import { environmentOf, give, hand, otherOf, type Player, RESOURCE, sizeOf } from './world.js';

function boot(player: Player, deed: Deed): void {
  player.node = createNode(player.side, environmentOf(player));
  give(player, { verb: 'new-resource', config: resourceConfig(player) }, deed);
}

const resourceConfig = ({ side, config: { volumes, net, disk, handlers, sizeSectors } }: Player): ResourceConfig => ({
  resource: RESOURCE,
  volumes: volumes.map((volume) => ({ volume, minor: volume, metaDisk: { kind: 'flexible' }, disk, sizeSectors })),
  peers: [{ name: otherOf(side), net }],
  onNoDataAccessible: 'io-error',
  handlers: handlers as [],
  protocolMin: 86,
  protocolMax: 101,
});

function connect(player: Player, deed: Deed): void {
  give(player, { verb: 'connect', resource: RESOURCE, peer: otherOf(player.side), discardMyData: deed.text.includes('discard-my-data'), tentative: false }, deed);
}

/** Carries out what the operator of this side did. What cannot be, throws: the folder is then not one to be played. */
export function act(player: Player, deed: Deed): void {
  if (deed.text.startsWith('CRASH')) {
    player.node = undefined;
    player.inbox = [];
    player.held = [];
    player.streams = [];
    player.attempts = [];
    return;
  }
  const direct = /yes (\S+) \| dd of=\/dev\/(drbd|ubd)(\w) bs=(\d+)(k?) (?:count=(\d+) )?seek=(\d+)(?: count=(\d+))?/.exec(deed.text);
  if (direct) return writeDirect(player, deed, direct);
  const discard = /blkdiscard (-z )?-o (\d+) -l (\d+) \/dev\/drbd(\d)/.exec(deed.text);
  if (discard) return discardDirect(player, deed, discard);
  for (const statement of deed.text.split(';')) {
    const match = /^\s*(?:drbdadm|drbdsetup-84) (?:-v )?(\S+)(.*)$/.exec(statement);
    if (!match) continue;
    const [, verb, rest] = match as unknown as [string, string, string];
    const volumes = /r0\/(\d+)/.exec(rest) ? [Number(/r0\/(\d+)/.exec(rest)![1])] : player.config.volumes;
    switch (verb) {
      case 'up':
        boot(player, deed);
        for (const volume of volumes) give(player, { verb: 'attach', resource: RESOURCE, volume }, deed);
        connect(player, deed);
        break;
      case 'new-resource':
        boot(player, deed);
        break;
      case 'attach':
        for (const volume of volumes) give(player, { verb, resource: RESOURCE, volume }, deed);
        break;
      case 'detach':
        for (const volume of volumes) give(player, { verb, resource: RESOURCE, volume, force: rest.includes('force') }, deed);
        break;
      case 'connect':
        connect(player, deed);
        break;
      case 'disconnect':
        give(player, { verb, resource: RESOURCE, peer: otherOf(player.side), force: rest.includes('force') }, deed);
        break;
      case 'primary':
        give(player, { verb, resource: RESOURCE, force: rest.includes('force') }, deed);
        break;
      case 'secondary':
      case 'down':
        give(player, { verb, resource: RESOURCE }, deed);
        break;
      case 'outdate':
      case 'invalidate':
      case 'invalidate-remote':
      case 'verify':
      case 'pause-sync':
      case 'resume-sync':
        for (const volume of volumes) give(player, { verb, resource: RESOURCE, volume }, deed);
        break;
      case 'new-current-uuid':
        for (const volume of volumes) give(player, { verb, resource: RESOURCE, volume, clearBitmap: rest.includes('clear-bitmap') }, deed);
        break;
      case 'resize':
        give(player, { verb, resource: RESOURCE, volume: 0, sizeSectors: Number(/--size=(\d+)s/.exec(rest)?.[1] ?? 0), assumeClean: false, assumePeerHasSpace: false }, deed);
        break;
      case 'net-options':
        player.config.net = { ...player.config.net, protocol: /--protocol=(\w)/.exec(rest)![1] as 'A' };
        give(player, { verb: 'options', resource: RESOURCE, config: resourceConfig(player) }, deed);
        break;
      case 'disk-options':
        player.config.disk = { ...player.config.disk, resyncRate: kibOf(/--resync-rate=(\w+)/.exec(rest)![1]!) };
        give(player, { verb: 'options', resource: RESOURCE, config: resourceConfig(player) }, deed);
        break;
      case 'new-minor':
        break;
      default:
        throw new Error(`no such command is played: ${verb}`);
    }
  }
}

/** Did what was done to this sector just then go to the peer? */
const isOnWire = (player: Player, deed: Deed, volume: number, sector: number): boolean =>
  player.recording.packets.some(
    ({ t, from, packet }) =>
      from === player.side && t > deed.t && t < deed.t + 2 && /^P_(DATA|TRIM|ZEROES)$/.test(packet.packet) && packet.volume === volume && 'sector' in packet && packet.sector <= sector && sector < packet.sector + sizeOf(packet) / 512,
  );

/** `blkdiscard [-z] -o OFFSET -l LENGTH`, in bytes. */
function discardDirect(player: Player, deed: Deed, match: RegExpExecArray): void {
  const [, zeroes, offset, length, minor] = match;
  const range = { resource: RESOURCE, volume: Number(minor), id: ++player.lastId, sector: Number(offset) / 512, sectors: Number(length) / 512 };
  if (isOnWire(player, deed, range.volume, range.sector)) return;
  hand(player, zeroes ? { type: 'app-write-zeroes', ...range, mayUnmap: false } : { type: 'app-discard', ...range });
}

/** `yes TEXT | dd`: what went to the peer is known of its packets; of what did not, this says it. */
function writeDirect(player: Player, deed: Deed, match: RegExpExecArray): void {
  const [, text, device, which, number, kilo, countBefore, seek, countBehind] = match;
  const bytes = Number(number) * (kilo ? 1024 : 1);
  const count = Number(countBefore ?? countBehind ?? 1);
  const stream = new TextEncoder().encode(`${text}\n`.repeat(Math.ceil((bytes * count) / (text!.length + 1))));
  const volume = device === 'drbd' ? Number(which) : which!.charCodeAt(0) - 'a'.charCodeAt(0);
  for (let at = 0; at < count; at++) {
    const sector = ((Number(seek) + at) * bytes) / 512;
    const data = stream.slice(at * bytes, (at + 1) * bytes);
    if (device === 'ubd') write(player.disks.get(volume)!, 'data', sector, data);
    else if (!isOnWire(player, deed, volume, sector)) hand(player, { type: 'app-write', resource: RESOURCE, volume, id: ++player.lastId, sector, data, fua: false });
  }
}
