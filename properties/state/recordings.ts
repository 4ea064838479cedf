/**
 * What the tests of states and generations read from the recordings of two kernel nodes: state words, requests and kernel
 * logs. Independent of the wire room: offsets come from packets.txt, which was made by another program.
 */

import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';

const captures = join(process.env['LOCKSTEP_SHARED'] ?? join(process.cwd(), '../shared'), 'captures');

export interface RecordedWord {
  /** Folder, time and direction, for messages. */
  where: string;
  packet: string;
  /** The 32-bit words of the payload. */
  words: number[];
}

export interface KernelLog {
  scenario: string;
  node: string;
  lines: string[];
}

/** False (with a line that says so) in a clone that has no recordings beside it. */
export const recordingsExist = (test: string): boolean => {
  if (existsSync(captures)) return true;
  console.log(`skipped: ${test}: no recordings at ${captures} (set LOCKSTEP_SHARED)`);
  return false;
};

const scenarios = (): string[] => {
  const inside = (folder: string): string[] =>
    readdirSync(join(captures, folder), { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map((entry) => join(folder, entry.name));
  return [...inside('.'), ...inside('with-drbd9')].filter((folder) => existsSync(join(captures, folder, 'packets.txt'))).sort();
};

const headerBytes: Record<string, number> = { h80: 8, h95: 8, h100: 16 };
const packetLine = /^\s*(\S+)\s+(conn\S+)\s+(\S+)\s+@(\d+)\s+(h\d+)\s+vol \S+\s+(\S+)\s+payload (\d+)\s*$/;

/** The first words of every packet of these names (without P_), in both directions. */
export const recordedWords = (packets: readonly string[]): RecordedWord[] => {
  const found: RecordedWord[] = [];
  for (const folder of scenarios()) {
    for (const line of readFileSync(join(captures, folder, 'packets.txt'), 'utf8').split('\n')) {
      const [, time, connection, direction, offset, header, packet, payload] = packetLine.exec(line) ?? [];
      if (packet === undefined || !packets.includes(packet)) continue;
      const bytes = readFileSync(join(captures, folder, `${connection}.${direction}.bin`));
      const start = Number(offset) + (headerBytes[header ?? ''] ?? NaN);
      const words = Array.from({ length: Number(payload) / 4 }, (_, index) => bytes.readUInt32BE(start + index * 4));
      found.push({ where: `${folder} ${time} ${direction}`, packet, words });
    }
  }
  return found;
};

/** The kernel logs of nodes that run DRBD 8.4. */
export const kernelLogs = (): KernelLog[] => {
  const logs: KernelLog[] = [];
  for (const scenario of scenarios()) {
    for (const node of ['alice', 'bob']) {
      const file = join(captures, scenario, `kernel-log.${node}.txt`);
      if (!existsSync(file)) continue;
      const text = readFileSync(file, 'utf8');
      if (text.includes('Version: 8.4.11')) logs.push({ scenario, node, lines: text.split('\n') });
    }
  }
  return logs;
};

/** The recorded `state-NN-TAG.NODE.txt` of 8.4 nodes: drbdsetup's and /proc/drbd's view at one moment. */
export const stateDumps = (): { where: string; text: string }[] =>
  scenarios().flatMap((scenario) =>
    readdirSync(join(captures, scenario))
      .filter((name) => /^state-.*\.txt$/.test(name))
      .sort()
      .map((name) => ({ where: join(scenario, name), text: readFileSync(join(captures, scenario, name), 'utf8') }))
      .filter(({ text }) => text.includes('version: 8.4.11')),
  );
