// What happens in the rig, in words: one line for each state change, decision, generation, answer, and if asked for, each
// packet and disk operation.

import type { Output, Observation, ObservedState } from '../../src/contract/output.js';
import { connName, diskName, roleName } from '../../src/state/states.js';
import { decodeStateWord } from '../../src/state/state-word.js';
import { ID_OUT_OF_SYNC, sameBlockId, type Packet } from '../../src/wire/packets.js';
import { otherOf, type Event, type Machine } from './pair.js';

export interface Narrator {
  lines: string[];
  /** Beside states and answers: packets, disk. */
  shown: Set<string>;
  /** UUIDs by first appearance: A1 is the first that alice drew and anybody saw. */
  uuids: Map<bigint, string>;
  /** Application requests, as they were asked for. */
  asked: Map<string, string>;
}

export const newNarrator = (): Narrator => ({ lines: [], shown: new Set(), uuids: new Map([[0n, '0'], [4n, 'new']]), asked: new Map() });

/** What a sync UUID is more than the bitmap UUID that it was derived from (wire-protocol.md §0). */
const SYNC_INCREMENT = 0x0001000000000000n;

/** The name of a generation; a + says "while Primary" (bit 0), a * "derived from it by a resync". */
export function nameOf(narrator: Narrator, uuid: bigint): string {
  const plain = uuid & ~1n;
  let name = narrator.uuids.get(plain);
  if (name === undefined) {
    const base = narrator.uuids.get(plain - SYNC_INCREMENT);
    const letter = plain >> 48n === 0xa11cn ? 'A' : plain >> 48n === 0xb0b0n ? 'B' : '?';
    const count = [...narrator.uuids.values()].filter((other) => other.startsWith(letter) && !other.endsWith('*')).length;
    name = base === undefined ? `${letter}${count + 1}` : `${base}*`;
    narrator.uuids.set(plain, name);
  }
  return (uuid & 1n) !== 0n ? `${name}+` : name;
}

export const uuidsOf = (narrator: Narrator, uuids: readonly bigint[]): string => uuids.map((uuid) => nameOf(narrator, uuid)).join(' ');

/** Lines of one event; none for what is not shown. */
export function describe(narrator: Narrator, event: Event): string[] {
  switch (event.event) {
    case 'output':
      return ofOutput(narrator, event.machine, event.output);
    case 'input': {
      const { input, machine } = event;
      if (input.type === 'app-read') narrator.asked.set(`${machine.name} ${input.id}`, `read of ${input.sector}+${input.sectors}`);
      if (input.type === 'app-write') narrator.asked.set(`${machine.name} ${input.id}`, `write of ${input.sector}+${input.data.length / 512}`);
      if (input.type === 'app-discard') narrator.asked.set(`${machine.name} ${input.id}`, `discard of ${input.sector}+${input.sectors}`);
      if (input.type === 'app-write-zeroes') narrator.asked.set(`${machine.name} ${input.id}`, `zeroing of ${input.sector}+${input.sectors}`);
      if (input.type === 'app-flush') narrator.asked.set(`${machine.name} ${input.id}`, 'flush');
      return [];
    }
    case 'sent':
      return narrator.shown.has('packets') ? ofPacket(narrator, event.machine, event.packet) : [];
    case 'operation-ended': {
      const { output } = event.operation;
      if (event.ok && !narrator.shown.has('disk')) return [];
      const range = output.type === 'disk-flush' ? '' : ` ${output.sector}+${output.type === 'disk-write' ? output.data.length / 512 : output.sectors}`;
      return [`${event.machine.name}: ${output.type.slice(5)} of ${output.area}${range} ${event.ok ? 'is done' : 'fails'}`];
    }
    case 'received':
    case 'passed':
      return [];
  }
}

function ofOutput(narrator: Narrator, machine: Machine, output: Output): string[] {
  const { name } = machine;
  switch (output.type) {
    case 'observe':
      return ofObservation(narrator, name, output.event);
    case 'reply': {
      const { code, text, blocker } = output.reply;
      return [`${name}: answers ${code}${text === '' ? '' : ` "${text}"`}${blocker === undefined ? '' : ` (${blocker})`}`];
    }
    case 'app-done':
      return [`${name}: ${narrator.asked.get(`${name} ${output.id}`)} is done${output.data ? `: ${lettersOf(output.data)}` : ''}`];
    case 'app-failed':
      return [`${name}: ${narrator.asked.get(`${name} ${output.id}`)} fails: ${output.error}`];
    case 'run-handler':
      return [
        `${name}: runs ${output.name}${output.minor === undefined ? '' : ` for minor ${output.minor}`}`,
        ...(narrator.shown.has('handlers') ? output.environment.map(([variable, value]) => `${name}:   ${variable}=${value}`) : []),
      ];
    case 'disk-write':
    case 'disk-write-zeroes':
    case 'disk-discard':
    case 'disk-flush':
    case 'disk-read': {
      if (!narrator.shown.has('disk')) return [];
      const range = output.type === 'disk-flush' ? '' : ` ${output.sector}+${output.type === 'disk-write' ? output.data.length / 512 : output.sectors}`;
      const how = output.type === 'disk-write' ? `${output.preflush ? ', preflush' : ''}${output.fua ? ', fua' : ''}` : '';
      return [`${name}: ${output.type.slice(5)} of ${output.area}${range} begins${how}`];
    }
    case 'admit':
      return [`${where(name, output.volume)}: ${output.on ? 'takes requests again' : 'takes no more requests'}`];
    case 'disk-close':
      return [`${name}: closes its disk`];
    default:
      return [];
  }
}

function ofObservation(narrator: Narrator, name: string, event: Observation): string[] {
  switch (event.event) {
    case 'state':
      return [`${where(name, event.volume)}: ${difference(event.from, event.to)} because of ${event.reason}`];
    case 'decision':
      return [`${where(name, event.volume)}: decides ${event.decision} by rule ${event.rule}`];
    case 'generation':
      return [`${where(name, event.volume)}: generation ${uuidsOf(narrator, event.uuids.map((uuid) => BigInt(`0x${uuid}`)))} because of ${event.why}`];
    case 'resync':
      return [`${where(name, event.volume)}: resync as ${event.side} ${event.what}, ${event.leftBits} of ${event.totalBits} bits left${event.failedBits > 0 ? `, ${event.failedBits} failed` : ''}`];
    case 'verify':
      return [`${where(name, event.volume)}: verify as ${event.side} ${event.what}, sector ${event.what === 'started' ? event.startSector : event.reachedSector}${event.foundBits > 0 ? `, ${event.foundBits} blocks differ` : ''}`];
    case 'out-of-sync':
      return [`${where(name, event.volume)}: out of sync: ${event.sector}+${event.sectors}`];
    case 'membership':
      return [`${name}: ${event.machine} is ${event.what}`];
    case 'log':
      return event.level === 'info' ? [] : [`${name}: ${event.level}: ${event.text}`];
    case 'connection-lost':
      return [`${name}: connection lost: ${event.reason}`];
  }
}

const where = (name: string, volume: number): string => (volume > 0 ? `${name}/${volume}` : name);

function difference(from: ObservedState, to: ObservedState): string {
  const parts: string[] = [];
  const field = (name: 'role' | 'peer' | 'conn' | 'disk' | 'pdsk', text: (value: number) => string): void => {
    if (from[name] !== to[name]) parts.push(`${name}(${text(from[name])} -> ${text(to[name])})`);
  };
  field('role', roleName);
  field('peer', roleName);
  field('conn', connName);
  field('disk', diskName);
  field('pdsk', diskName);
  for (const flag of to.flags) if (!from.flags.includes(flag)) parts.push(`${flag}(0 -> 1)`);
  for (const flag of from.flags) if (!to.flags.includes(flag)) parts.push(`${flag}(1 -> 0)`);
  return parts.join(' ');
}

/** `a8 .8`: eight sectors of a, eight of zeros. */
export function lettersOf(data: Uint8Array): string {
  const runs: { letter: string; sectors: number }[] = [];
  for (let at = 0; at < data.length; at += 512) {
    const letter = data[at] === 0 ? '.' : String.fromCharCode(data[at]!);
    const last = runs.at(-1);
    if (last?.letter === letter) last.sectors++;
    else runs.push({ letter, sectors: 1 });
  }
  return runs.map(({ letter, sectors }) => `${letter}${sectors}`).join(' ');
}

function ofPacket(narrator: Narrator, machine: Machine, packet: Packet): string[] {
  const details = detailsOf(narrator, packet);
  const volume = packet.volume > 0 ? ` of volume ${packet.volume}` : '';
  return [`${machine.name} > ${otherOf(machine.name)}: ${packet.packet}${volume}${details === '' ? '' : ` ${details}`}`];
}

function detailsOf(narrator: Narrator, packet: Packet): string {
  switch (packet.packet) {
    case 'P_DATA':
    case 'P_DATA_REPLY':
    case 'P_RS_DATA_REPLY':
      return `${packet.sector}+${packet.data.length / 512} ${lettersOf(packet.data)}`;
    case 'P_TRIM':
    case 'P_ZEROES':
    case 'P_DATA_REQUEST':
    case 'P_RS_DATA_REQUEST':
    case 'P_RS_THIN_REQ':
    case 'P_RS_DEALLOCATED':
    case 'P_OV_REQUEST':
    case 'P_OV_REPLY':
    case 'P_CSUM_RS_REQUEST':
    case 'P_RS_IS_IN_SYNC':
    case 'P_OUT_OF_SYNC':
    case 'P_RECV_ACK':
    case 'P_WRITE_ACK':
    case 'P_RS_WRITE_ACK':
    case 'P_NEG_ACK':
    case 'P_NEG_DREPLY':
    case 'P_NEG_RS_DREPLY':
      return `${packet.sector}+${packet.sizeBytes / 512}`;
    case 'P_OV_RESULT':
      return `${packet.sector}+${packet.sizeBytes / 512} ${sameBlockId(packet.blockId, ID_OUT_OF_SYNC) ? 'differs' : 'is equal'}`;
    case 'P_BARRIER':
      return `${packet.barrier}`;
    case 'P_BARRIER_ACK':
      return `${packet.barrier}, ${packet.setSize} writes`;
    case 'P_SIZES':
      if (!narrator.shown.has('sizes')) return '';
      return `disk ${packet.diskSectors} user ${packet.userSectors} current ${packet.currentSectors} flags ${packet.ddsFlags}`;
    case 'P_STATE': {
      const state = decodeStateWord(packet.state)!;
      return `${connName(state.conn)} ${roleName(state.role)}/${roleName(state.peer)} ${diskName(state.disk)}/${diskName(state.pdsk)}`;
    }
    case 'P_UUIDS':
      return `${uuidsOf(narrator, [packet.current, packet.bitmap, packet.history0, packet.history1])}, ${packet.dirtyBits} bits${packet.flags === 0 ? '' : `, flags ${packet.flags}`}`;
    case 'P_SYNC_UUID':
      return nameOf(narrator, packet.uuid);
    case 'P_STATE_CHG_REPLY':
    case 'P_CONN_ST_CHG_REPLY':
      return `${packet.retcode}`;
    default:
      return '';
  }
}
