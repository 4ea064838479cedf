/**
 * What a core sees of streams, alarms, datagrams and its own death: told by scripted cores that do at a time what the script
 * says and write down what they are given.
 */

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Input, Node, Output } from '../../src/contract/index.js';
import { createGhost } from '../../sim/ghost.js';
import type { Fault, FaultAction, Setup } from '../../sim/types.js';
import { randomRoot } from '../../sim/world/random.js';
import { runOnce } from '../../sim/world/run.js';
import { drawSchedule } from '../../sim/world/swarm.js';
import { toySetup } from './world-toy.js';

const MS = 1000;
const S = 1_000_000;

interface Heard {
  atUs: number;
  boot: number;
  input: Input;
}

/** What each boot of a host does: at its time, or as an answer. */
type Script = { boot?: number; atUs: number; outputs: Output[] }[];

class ScriptNode implements Node {
  private out: Output[] = [];
  private nowUs = 0;
  private readonly steps: Script;

  constructor(
    readonly name: string,
    script: Script,
    private readonly boot: number,
    private readonly heard: Heard[],
  ) {
    this.steps = script.filter((step) => (step.boot ?? 1) === boot);
  }

  handle(input: Input, nowUs: number): void {
    this.nowUs = nowUs;
    // Lent bytes are kept as a copy.
    const copy = input.type === 'stream-received' ? { ...input, bytes: input.bytes.slice() } : input;
    if (input.type !== 'pass-ended') this.heard.push({ atUs: nowUs, boot: this.boot, input: copy });
    while (this.steps[0] && this.steps[0].atUs <= nowUs) this.out.push(...this.steps.shift()!.outputs);
  }

  outputs(): Output[] {
    const { out } = this;
    this.out = [];
    return out;
  }

  deadline(): number | undefined {
    return this.steps[0] && Math.max(this.nowUs, this.steps[0].atUs);
  }

  snapshot(): Uint8Array {
    return new Uint8Array(0);
  }

  holds(): Set<ArrayBufferLike> {
    return new Set();
  }

  fingerprint(): string {
    return '';
  }

  resources(): ReturnType<Node['resources']> {
    return [];
  }
}

const listen: Output = { type: 'listen', resource: 'r0', peer: 'alice' };
const connect = (stream: number): Output => ({ type: 'connect', stream, resource: 'r0', peer: 'bob' });
const close = (stream: number): Output => ({ type: 'close', stream });
const send = (stream: number, bytes: number, fill = 7): Output => ({ type: 'send', stream, pieces: [new Uint8Array(bytes).fill(fill)] });
const initialData: Output = { type: 'send', stream: 1, pieces: [new Uint8Array([0x83, 0x74, 0x02, 0x67, 0xff, 0xf2, 0, 0])] };

let faultNumber = 0;
const at = (atUs: number, action: FaultAction): Fault => ({ id: `f${++faultNumber}`, trigger: { atUs }, action });

interface Play {
  alice?: Script;
  bob?: Script;
  faults?: Fault[];
  setup?: Partial<Setup>;
}

function play({ alice = [], bob = [], faults = [], setup = {} }: Play, seed = 1): { alice: Heard[]; bob: Heard[]; sometimes: Record<string, number> } {
  const heard = { alice: [] as Heard[], bob: [] as Heard[] };
  const boots = { alice: 0, bob: 0 };
  const scenario = {
    name: 'script',
    summary: '',
    parameters: [],
    sometimes: [],
    setup: () =>
      toySetup({
        onBoot: 'nothing', prepare: [], workload: { kind: 'none' }, schedule: faults, durationUs: 60 * S, settleUs: S,
        network: { latencyUs: 100, jitterUs: 50, bytesPerSecond: 100_000_000 },
        ...setup,
      }),
  };
  const result = runOnce(scenario, { scenario: 'script', parameters: {}, seed }, {
    createNode: (name) => {
      const host = name as 'alice' | 'bob';
      return new ScriptNode(name, host === 'alice' ? alice : bob, ++boots[host], heard[host]);
    },
    makeCheckers: () => [],
    makeGhost: createGhost,
    makeWorkload: () => ({ poll: () => ({ do: 'finished' }), completed: () => {}, interrupted: () => {} }),
  });
  assert.is(result.crash, undefined, result.crash);
  return { ...heard, sometimes: result.coverage.sometimes };
}

const of = <T extends Input['type']>(heard: Heard[], type: T): { atUs: number; boot: number; input: Extract<Input, { type: T }> }[] =>
  heard.filter((one) => one.input.type === type) as never;

const received = (heard: Heard[]): number => of(heard, 'stream-received').reduce((sum, { input }) => sum + input.bytes.length, 0);

const bobListens: Script = [{ atUs: 0, outputs: [listen] }];
const aliceConnects: Script = [{ atUs: 1 * MS, outputs: [connect(1)] }];

test('nobody listens: refused, once', () => {
  const { alice } = play({ alice: aliceConnects });
  assert.equal(alice.filter(({ input }) => 'stream' in input).map(({ input }) => input), [{ type: 'connect-refused', stream: 1 }]);
});

test('connected and accepted, bytes in order whatever the portions', () => {
  const sends = Array.from({ length: 50 }, (_, n) => ({ atUs: (10 + n) * MS, outputs: [send(1, 100 + 37 * n, n), send(1, 10, n)] }));
  const { alice, bob } = play({ alice: [...aliceConnects, ...sends], bob: bobListens });
  assert.is(of(alice, 'stream-connected').length, 1);
  const accepted = of(bob, 'stream-accepted');
  assert.equal(accepted.map(({ input }) => input), [{ type: 'stream-accepted', resource: 'r0', peer: 'alice', stream: -1 }]);
  const bytes = of(bob, 'stream-received').flatMap(({ input }) => [...input.bytes]);
  assert.equal(bytes, sends.flatMap((_, n) => new Array(110 + 37 * n).fill(n)));
  // More portions than sends: some segments were split.
  assert.ok(of(bob, 'stream-received').length > 100);
  const sent = of(alice, 'stream-sent');
  assert.is(sent[sent.length - 1]!.input.bytesTotal, bytes.length);
});

test('close is told after the bytes before it; a close with unread bytes is a reset', () => {
  const orderly = play({ alice: [...aliceConnects, { atUs: 5 * MS, outputs: [send(1, 5000), close(1)] }], bob: bobListens });
  assert.is(received(orderly.bob), 5000);
  assert.equal(of(orderly.bob, 'stream-closed').map(({ input }) => input.how), ['closed']);
  assert.is(orderly.bob[orderly.bob.length - 1]!.input.type, 'stream-closed');
  const rude = play({
    alice: [...aliceConnects, { atUs: 5 * MS, outputs: [send(1, 5000)] }],
    bob: [...bobListens, { atUs: 4 * MS, outputs: [{ type: 'read-stream', stream: -1, on: false }] }, { atUs: 9 * MS, outputs: [close(-1)] }],
  });
  assert.is(received(rude.bob), 0);
  assert.equal(of(rude.alice, 'stream-closed').map(({ input }) => input.how), ['reset']);
});

test('a stream that is not read holds the sender back', () => {
  const off: Output = { type: 'read-stream', stream: -1, on: false };
  const on: Output = { type: 'read-stream', stream: -1, on: true };
  const { alice, bob } = play({
    alice: [...aliceConnects, { atUs: 10 * MS, outputs: Array.from({ length: 10 }, () => send(1, 100_000)) }],
    bob: [...bobListens, { atUs: 5 * MS, outputs: [off] }, { atUs: 1 * S, outputs: [on] }],
  });
  const before = of(alice, 'stream-sent').filter(({ atUs }) => atUs < S).map(({ input }) => input.bytesTotal);
  assert.is(Math.max(...before), 256 * 1024);
  assert.is(Math.max(...of(alice, 'stream-sent').map(({ input }) => input.bytesTotal)), 1_000_000);
  assert.is(received(bob), 1_000_000);
  assert.ok(of(bob, 'stream-received').every(({ atUs }) => atUs >= S));
});

test('a cut loses nothing of a stream: the bytes come after it; nobody notices', () => {
  const { alice, bob } = play({
    alice: [...aliceConnects, { atUs: 1 * S, outputs: [send(1, 1000)] }, { atUs: 2 * S, outputs: [send(1, 500)] }],
    bob: bobListens,
    faults: [at(500 * MS, { do: 'cut', from: 'alice', to: 'bob', oneWay: false, forUs: 10 * S })],
  });
  assert.is(received(bob), 1500);
  assert.ok(of(bob, 'stream-received').every(({ atUs }) => atUs > 10.5 * S && atUs < 16 * S));
  assert.is(of(alice, 'stream-closed').length, 0);
});

test('a cut the other way lets bytes through but not their acknowledgements', () => {
  const { alice, bob } = play({
    alice: [...aliceConnects, { atUs: 1 * S, outputs: Array.from({ length: 5 }, () => send(1, 100_000)) }],
    bob: bobListens,
    faults: [at(500 * MS, { do: 'cut', from: 'bob', to: 'alice', oneWay: true, forUs: 10 * S })],
  });
  const early = (heard: Heard[]): Heard[] => heard.filter(({ atUs }) => atUs < 10 * S);
  assert.is(received(early(bob)), 256 * 1024);
  assert.is(received(bob), 500_000);
  assert.is(Math.max(...of(early(alice), 'stream-sent').map(({ input }) => input.bytesTotal)), 256 * 1024);
});

test('a cut of the data stream leaves the other stream alone', () => {
  const { bob } = play({
    alice: [
      { atUs: 1 * MS, outputs: [connect(1), connect(2)] },
      { atUs: 5 * MS, outputs: [initialData, send(2, 8, 0)] },
      { atUs: 2 * S, outputs: [send(1, 100), send(2, 200)] },
    ],
    bob: bobListens,
    faults: [at(1 * S, { do: 'cut', from: 'alice', to: 'bob', oneWay: false, stream: 'data', forUs: 10 * S })],
  });
  const during = of(bob, 'stream-received').filter(({ atUs }) => atUs > S && atUs < 11 * S);
  assert.is(during.reduce((sum, { input }) => sum + input.bytes.length, 0), 200);
  assert.is(received(bob), 316);
});

test('a stall holds bytes and lets them go at once', () => {
  const { bob } = play({
    alice: [...aliceConnects, { atUs: 1 * S, outputs: [send(1, 1000)] }],
    bob: bobListens,
    faults: [at(500 * MS, { do: 'stall', from: 'alice', to: 'bob', forUs: 3 * S })],
  });
  assert.ok(of(bob, 'stream-received').every(({ atUs }) => atUs >= 3.5 * S && atUs < 3.5 * S + 1 * MS));
  assert.is(received(bob), 1000);
});

test('a connect into a cut hangs and succeeds when TCP tries again; into a dead machine it fails after minutes', () => {
  const { alice } = play({
    alice: aliceConnects,
    bob: bobListens,
    faults: [at(0, { do: 'cut', from: 'alice', to: 'bob', oneWay: true, forUs: 4 * S })],
  });
  const [connected] = of(alice, 'stream-connected');
  // Tries at 0, 1, 3 and 7 seconds.
  assert.ok(connected!.atUs > 7 * S && connected!.atUs < 7.1 * S);
  const dead = play({
    alice: aliceConnects,
    bob: bobListens,
    setup: { durationUs: 200 * S },
    faults: [at(500, { do: 'power-loss', hosts: ['bob'], tear: 1 })],
  });
  assert.equal(dead.alice.filter(({ input }) => input.type === 'connect-failed').map(({ atUs }) => Math.round(atUs / S)), [63]);
});

test('an abandoned connect is answered by nothing', () => {
  const { alice, bob } = play({ alice: [{ atUs: 1 * MS, outputs: [connect(1), close(1)] }], bob: bobListens });
  assert.ok(alice.every(({ input }) => !('stream' in input)));
  assert.is(of(bob, 'stream-accepted').length, 0);
});

test('a dead process closes its streams and refuses; a dead machine says nothing until it has power again', () => {
  const late: Script = [{ atUs: 8 * S, outputs: [send(1, 100)] }];
  const crash = play({
    alice: [...aliceConnects, { atUs: 3 * S, outputs: [connect(2)] }],
    bob: bobListens,
    faults: [at(2 * S, { do: 'crash', host: 'bob' })],
  });
  assert.equal(of(crash.alice, 'stream-closed').map(({ input, atUs }) => [input.how, Math.round(atUs / S)]), [['closed', 2]]);
  assert.is(of(crash.alice, 'connect-refused').length, 1);
  const power = play({
    alice: [...aliceConnects, ...late],
    bob: bobListens,
    faults: [at(2 * S, { do: 'power-loss', hosts: ['bob'], tear: 1, restartAfterUs: 20 * S })],
  });
  const closed = of(power.alice, 'stream-closed');
  assert.equal(closed.map(({ input }) => input.how), ['reset']);
  // Sent at 8 s into nothing, sent again until the machine is back at 22 s.
  assert.ok(closed[0]!.atUs > 22 * S && closed[0]!.atUs < 28 * S);
  assert.is(power.sometimes['half-open connection'], 1);
  // What is closed behind a cut is open on the other side.
  const cut = (forUs: number): Record<string, number> =>
    play({
      alice: [...aliceConnects, { atUs: 3 * S, outputs: [close(1)] }],
      bob: bobListens,
      faults: [at(2 * S, { do: 'cut', from: 'alice', to: 'bob', oneWay: true, forUs })],
    }).sometimes;
  assert.is(cut(2 * S)['half-open connection'], 1);
  assert.is(cut(S / 2)['half-open connection'], undefined);
  const quiet = play({
    alice: aliceConnects,
    bob: bobListens,
    faults: [at(2 * S, { do: 'power-loss', hosts: ['bob'], tear: 1, restartAfterUs: 1 * S })],
  });
  assert.is(of(quiet.alice, 'stream-closed').length, 0);
});

test('a reset may be preceded by a part of what was on the wire, and nothing follows it', () => {
  const lengths = new Set<number>();
  for (let seed = 0; seed < 60; seed++) {
    const { alice, bob } = play(
      {
        alice: [...aliceConnects, { atUs: 1 * S, outputs: Array.from({ length: 10 }, () => send(1, 10_000)) }],
        bob: bobListens,
        faults: [at(1 * S + 200, { do: 'reset', from: 'alice', to: 'bob' })],
      },
      seed,
    );
    for (const heard of [alice, bob]) {
      assert.equal(of(heard, 'stream-closed').map(({ input }) => input.how), ['reset']);
      assert.ok(['stream-closed', 'woken'].includes(heard[heard.length - 1]!.input.type));
    }
    lengths.add(received(bob));
  }
  assert.ok(lengths.size > 10);
  assert.ok(lengths.has(100_000) || Math.max(...lengths) < 100_000);
});

test('a paused process: its kernel accepts and buffers, the process hears of it afterwards', () => {
  const { alice, bob } = play({
    alice: [{ atUs: 2 * S, outputs: [connect(1)] }, { atUs: 3 * S, outputs: [send(1, 100)] }],
    bob: bobListens,
    faults: [at(1 * S, { do: 'pause', host: 'bob', forUs: 5 * S })],
  });
  assert.is(Math.round(of(alice, 'stream-connected')[0]!.atUs / S), 2);
  const during = bob.filter(({ atUs }) => atUs > S && atUs < 6 * S);
  assert.is(during.length, 0);
  const after = bob.filter(({ atUs }) => atUs === 6 * S).map(({ input }) => input.type);
  assert.equal(after, ['stream-accepted', 'stream-received']);
});

test('a slow clock serves alarms late', () => {
  const marks: Script = [1, 2, 3, 4].map((second) => ({ atUs: second * S, outputs: [] }));
  const { alice } = play({ alice: marks, faults: [at(1.5 * S, { do: 'slow-clock', host: 'alice', forUs: 2 * S, lateUs: 300 * MS })] });
  // The alarm for 2 s was set before the clock became slow, and is looked at again when it rings.
  assert.equal(of(alice, 'woken').map(({ atUs }) => atUs), [1 * S, 2.3 * S, 3.3 * S, 4 * S]);
});

test('datagrams arrive, or are lost in a cut', () => {
  const message = (byte: number): Output => ({ type: 'membership-send', to: 'bob', bytes: new Uint8Array([byte]) });
  const { bob } = play({
    alice: [{ atUs: 1 * S, outputs: [message(1)] }, { atUs: 3 * S, outputs: [message(2)] }, { atUs: 6 * S, outputs: [message(3)] }],
    faults: [at(2 * S, { do: 'cut', from: 'alice', to: 'bob', oneWay: true, forUs: 2 * S })],
  });
  assert.is(of(bob, 'membership-received').length, 2);
});

test('a slow link is slow', () => {
  const { bob } = play({
    alice: [...aliceConnects, { atUs: 2 * S, outputs: [send(1, 100_000)] }],
    bob: bobListens,
    faults: [at(1 * S, { do: 'slow-link', from: 'alice', to: 'bob', forUs: 10 * S, latencyUs: 50 * MS, bytesPerSecond: 100_000 })],
  });
  const arrivals = of(bob, 'stream-received');
  assert.ok(arrivals[arrivals.length - 1]!.atUs >= 3.05 * S);
  assert.is(received(bob), 100_000);
});

test('faults wait for packets', () => {
  const hear = (when: 'sent' | 'delivered'): Heard[] => {
    const fault: Fault = { id: 'x', trigger: { onPacket: 'P_INITIAL_DATA', from: 'alice', to: 'bob', nth: 2, when }, action: { do: 'crash', host: 'bob' } };
    const again = { ...initialData, stream: 2 } as Output;
    const script = [...aliceConnects, { atUs: 1 * S, outputs: [initialData] }, { atUs: 2 * S, outputs: [connect(2)] }, { atUs: 3 * S, outputs: [again] }];
    return play({ alice: script, bob: bobListens, faults: [fault] }).alice;
  };
  assert.equal(of(hear('sent'), 'stream-closed').map(({ atUs }) => Math.floor(atUs / S)), [3, 3]);
  assert.equal(of(hear('delivered'), 'stream-closed').map(({ atUs }) => Math.floor(atUs / S)), [3, 3]);
});

test('whatever happens to a stream, what arrives is the beginning of what was sent', () => {
  const kinds: FaultAction['do'][] = ['cut', 'stall', 'slow-link', 'reset', 'pause'];
  let cutShort = 0;
  for (let seed = 0; seed < 80; seed++) {
    const random = randomRoot(seed).fork('prefix');
    const sends: Script = [];
    const sent: number[] = [];
    for (let n = 0; n < 120; n++) {
      const bytes = new Uint8Array(random.integer(1, 3000)).map((_, at) => (sent.length + at) % 251);
      sent.push(...bytes);
      sends.push({ atUs: 10 * MS + n * random.integer(1, 2000), outputs: [{ type: 'send', stream: 1, pieces: [bytes] }] });
    }
    sends.sort((a, b) => a.atUs - b.atUs);
    sent.length = 0;
    for (const { outputs } of sends) for (const output of outputs) if (output.type === 'send') sent.push(...output.pieces[0]!);
    const faults = drawSchedule(random, {
      hosts: ['alice', 'bob'], durationUs: 500 * MS, kinds, meanGapUs: 30 * MS, longestUs: 200 * MS, longestRestartUs: 1, firstSector: 0, sectors: 1,
      commands: [], oneWayCuts: true, togetherLosePower: false, atEventOneIn: 0,
    });
    const { alice, bob } = play({ alice: [...aliceConnects, ...sends], bob: bobListens, faults }, seed);
    const bytes = of(bob, 'stream-received').flatMap(({ input }) => [...input.bytes]);
    assert.equal(bytes, sent.slice(0, bytes.length), `seed ${seed}`);
    const closed = of(bob, 'stream-closed');
    assert.ok(closed.length <= 1);
    // Where the very first packet was held up the script speaks before there is a stream.
    const inTime = (of(alice, 'stream-connected')[0]?.atUs ?? Infinity) < 10 * MS;
    if (closed.length === 0 && inTime && of(bob, 'stream-accepted').length === 1) assert.is(bytes.length, sent.length, `seed ${seed}`);
    if (closed.length === 1) {
      if (bytes.length < sent.length) cutShort++;
      const last = bob.map(({ input }) => input.type).lastIndexOf('stream-received');
      assert.ok(last < bob.findIndex(({ input }) => input.type === 'stream-closed'));
    }
  }
  assert.ok(cutShort > 10);
});

test.run();
