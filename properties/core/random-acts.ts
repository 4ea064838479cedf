// What can happen to two nodes in a random run (random.test.ts): commands, requests, cuts, crashes, faults; and how everything is
// made to work again at the end.

import fc from '../fast-check.js';
import type { Command } from '../../src/contract/command.js';
import { advance, application, command, crash, cut, drive, exitHandler, names, start, step, type Name, type Pair, type PairOptions } from './pair.js';

const SECTORS = 40960;
const SECOND = 1_000_000;

export type Act =
  | { act: 'command'; name: Name; what: Command }
  | { act: 'write'; name: Name; at: number; blocks: number; letter: number; fua: boolean }
  | { act: 'read'; name: Name; at: number }
  | { act: 'flush'; name: Name }
  | { act: 'steps'; count: number }
  | { act: 'advance'; ms: number }
  | { act: 'cut' }
  | { act: 'heal' }
  | { act: 'hold'; what: string }
  | { act: 'release' }
  | { act: 'fault'; name: Name; kind: 'read' | 'write' | 'flush'; area: 'data' | 'meta' }
  | { act: 'crash'; name: Name; how: 'process' | 'power' }
  | { act: 'start'; name: Name };

export const resource = 'r0';
const connectCommand = (name: Name, discardMyData = false): Command => ({ verb: 'connect', resource, peer: name === 'alice' ? 'bob' : 'alice', discardMyData, tentative: false });

const commandsOf = (name: Name): Command[] => [
  { verb: 'primary', resource, force: false },
  { verb: 'primary', resource, force: false },
  { verb: 'primary', resource, force: true },
  { verb: 'secondary', resource },
  { verb: 'secondary', resource },
  { verb: 'attach', resource, volume: 0 },
  { verb: 'attach', resource, volume: 0 },
  { verb: 'detach', resource, volume: 0, force: false },
  { verb: 'detach', resource, volume: 0, force: true },
  connectCommand(name),
  connectCommand(name),
  connectCommand(name, true),
  { verb: 'disconnect', resource, peer: name === 'alice' ? 'bob' : 'alice', force: false },
  { verb: 'disconnect', resource, peer: name === 'alice' ? 'bob' : 'alice', force: true },
  { verb: 'outdate', resource, volume: 0 },
  { verb: 'invalidate', resource, volume: 0 },
  { verb: 'invalidate-remote', resource, volume: 0 },
  { verb: 'pause-sync', resource, volume: 0 },
  { verb: 'resume-sync', resource, volume: 0 },
  { verb: 'verify', resource, volume: 0 },
  { verb: 'verify', resource, volume: 0, startSector: 64, stopSector: 640 },
  { verb: 'suspend-io', resource },
  { verb: 'resume-io', resource },
  { verb: 'new-current-uuid', resource, volume: 0, clearBitmap: false },
  { verb: 'down', resource },
];

const arbitraryName = fc.constantFrom<Name>('alice', 'bob');
const holdable = ['alice>bob data', 'bob>alice data', 'alice>bob meta', 'bob>alice meta', 'alice data disk', 'bob data disk', 'alice meta disk', 'bob meta disk', 'alice sent'];

export const arbitraryAct: fc.Arbitrary<Act> = fc.oneof(
  { weight: 6, arbitrary: arbitraryName.chain((name) => fc.constantFrom(...commandsOf(name)).map((what): Act => ({ act: 'command', name, what }))) },
  {
    weight: 8,
    arbitrary: fc.record({ act: fc.constant('write' as const), name: arbitraryName, at: fc.nat(40), blocks: fc.integer({ min: 1, max: 6 }), letter: fc.nat(25), fua: fc.boolean() }),
  },
  { weight: 2, arbitrary: fc.record({ act: fc.constant('read' as const), name: arbitraryName, at: fc.nat(40) }) },
  { weight: 2, arbitrary: fc.record({ act: fc.constant('flush' as const), name: arbitraryName }) },
  { weight: 8, arbitrary: fc.record({ act: fc.constant('steps' as const), count: fc.integer({ min: 1, max: 25 }) }) },
  { weight: 4, arbitrary: fc.record({ act: fc.constant('advance' as const), ms: fc.constantFrom(0, 10, 200, 1000, 5000) }) },
  { weight: 2, arbitrary: fc.constant<Act>({ act: 'cut' }) },
  { weight: 2, arbitrary: fc.constant<Act>({ act: 'heal' }) },
  { weight: 2, arbitrary: fc.constantFrom(...holdable).map((what): Act => ({ act: 'hold', what })) },
  { weight: 2, arbitrary: fc.constant<Act>({ act: 'release' }) },
  { weight: 1, arbitrary: fc.record({ act: fc.constant('fault' as const), name: arbitraryName, kind: fc.constantFrom('read' as const, 'write' as const, 'flush' as const), area: fc.constantFrom('data' as const, 'meta' as const) }) },
  { weight: 1, arbitrary: fc.record({ act: fc.constant('crash' as const), name: arbitraryName, how: fc.constantFrom('process' as const, 'power' as const) }) },
  { weight: 1, arbitrary: arbitraryName.map((name): Act => ({ act: 'start', name })) },
);

export const arbitraryOptions: fc.Arbitrary<PairOptions> = fc
  .record({
    protocol: fc.constantFrom('A' as const, 'B' as const, 'C' as const, 'C' as const),
    fencing: fc.constantFrom('dont-care' as const, 'dont-care' as const, 'resource-only' as const, 'resource-and-stonith' as const),
    onIoError: fc.constantFrom('detach' as const, 'detach' as const, 'pass_on' as const),
    onNoDataAccessible: fc.constantFrom('io-error' as const, 'suspend-io' as const),
    protocolMax: fc.constantFrom(101, 101, 101, 100, 99, 95, 90, 86),
    internal: fc.boolean(),
    diskTimeout: fc.constantFrom(0, 0, 0, 15),
    twoPrimaries: fc.constantFrom(false, false, true),
    csumsAlg: fc.constantFrom('', '', 'crc32c'),
    rsDiscardGranularity: fc.constantFrom(0, 0, 4096, 32768),
  })
  .map(({ protocol, fencing, onIoError, onNoDataAccessible, protocolMax, internal, diskTimeout, twoPrimaries, csumsAlg, rsDiscardGranularity }) => ({
    sectors: SECTORS,
    ...(rsDiscardGranularity > 0 && { discardGranularitySectors: [8, 24] as [number, number] }),
    metaDisk: { kind: internal ? ('internal' as const) : ('flexible' as const) },
    net: { protocol, allowTwoPrimaries: twoPrimaries && protocol === 'C', afterSb0Pri: 'discard-least-changes' as const, csumsAlg },
    disk: { fencing: protocol === 'A' && fencing === 'resource-and-stonith' ? ('resource-only' as const) : fencing, onIoError, diskTimeout, cPlanAhead: 0, resyncRate: 40_000, rsDiscardGranularity },
    onNoDataAccessible,
    handlers: ['fence-peer'],
    protocolMax: [101, protocolMax] as [number, number],
  }));

/** A small generator of our own: what comes next is a function of the run's seed alone. */
export const choices = (seed: number): ((count: number) => number) => {
  let state = seed | 0;
  return (count) => {
    state = (Math.imul(state, 1664525) + 1013904223) | 0;
    return (state >>> 8) % count;
  };
};

export function carryOut(pair: Pair, act: Act): void {
  switch (act.act) {
    case 'command':
      if (pair.machines[act.name].node) command(pair, act.name, act.what);
      return;
    case 'write': {
      const sector = blockAt(act.at) * 8;
      const data = new Uint8Array(act.blocks * 4096).fill(97 + act.letter);
      application(pair, act.name, [{ ask: 'write', volume: 0, sector, data, fua: act.fua }]);
      return;
    }
    case 'read':
      application(pair, act.name, [{ ask: 'read', volume: 0, sector: blockAt(act.at) * 8, sectors: 16 }]);
      return;
    case 'flush':
      application(pair, act.name, [{ ask: 'flush', volume: 0 }]);
      return;
    case 'steps':
      for (let count = 0; count < act.count && step(pair); count++);
      return;
    case 'advance':
      return advance(pair, act.ms * 1000);
    case 'cut':
      cut(pair);
      pair.holds.add('connect');
      return;
    case 'heal':
      pair.holds.delete('connect');
      return;
    case 'hold':
      pair.holds.add(act.what);
      return;
    case 'release':
      pair.holds.clear();
      return;
    case 'fault':
      pair.machines[act.name].faults.push({ kind: act.kind, area: act.area, once: true });
      return;
    case 'crash':
      if (pair.machines[act.name].node) crash(pair, act.name, act.how);
      return;
    case 'start':
      return restart(pair, act.name);
  }
}

/** Near the beginning, and one in each of some extents. */
const blockAt = (at: number): number => (at < 24 ? at : (at - 24) * 256);

function restart(pair: Pair, name: Name): void {
  const machine = pair.machines[name];
  if (machine.node && machine.node.resources().length > 0) return;
  start(pair, name);
  command(pair, name, { verb: 'attach', resource, volume: 0 });
  command(pair, name, connectCommand(name));
}

/** Everything works again, and an operator has resumed what was suspended. */
export function repair(pair: Pair): void {
  pair.holds.clear();
  for (const name of names) {
    pair.machines[name].faults = [];
    restart(pair, name);
  }
  drive(pair);
  for (const name of names) for (const handlerName of [...pair.machines[name].hanging.keys()]) exitHandler(pair, name, handlerName, 7);
  for (const name of names) {
    command(pair, name, { verb: 'attach', resource, volume: 0 });
    command(pair, name, connectCommand(name));
    command(pair, name, { verb: 'resume-sync', resource, volume: 0 });
  }
  advance(pair, 60 * SECOND);
  for (const name of names) command(pair, name, { verb: 'resume-io', resource });
  advance(pair, 60 * SECOND);
}
