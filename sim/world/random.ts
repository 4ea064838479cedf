/**
 * Random streams with names. A stream's values depend on its name alone, never on what another stream has drawn, so that
 * leaving out one fault or one message does not reshuffle everything else (design: "The simulator").
 *
 * Behind each is seedrandom's alea: exact floating-point operations only, equal on every machine. (Its xor128 was quicker, but
 * names that differ in little, as those of neighbouring seeds do, gave values that were correlated.)
 */

import seedrandom from 'seedrandom';
import type { RandomStream, Splice } from '../types.js';

const TWO_32 = 4294967296;

/** The root of a run's randomness: everything else is forked from it. */
export const randomRoot = (seed: number, turn?: Turn): RandomStream => makeStream(String(seed), turn ? turning(turn) : source);

/** The setup of another future of the same seed (its schedule is all that is taken of it). */
export const futureSetupStream = (seed: number, future: string): RandomStream => makeStream(`${seed}/setup#${future}`, source);

/** While `future` is undefined a run is what its seed says; from the moment on when it is set every stream begins again, as that future has it. */
export interface Turn {
  future: string | undefined;
}

/** Sources that look at each draw whether the run has turned. */
const turning =
  (turn: Turn) =>
  (name: string): Source => {
    const begin = (): Source => source(turn.future === undefined ? name : `${name}#${turn.future}`);
    let { future } = turn;
    let next = begin();
    return () => {
      if (turn.future !== future) {
        ({ future } = turn);
        next = begin();
      }
      return next();
    };
  };

/** The stream from which a scenario draws all that it sets up, with streams of other seeds spliced in. `onDraw` hears of each number that is drawn below it. */
export function setupStream(seed: number, splices: readonly Splice[] = [], onDraw?: (stream: string) => void): RandomStream {
  const root = `${seed}/setup`;
  return makeStream(root, (name) => {
    const stream = name.slice(root.length + 1);
    const splice = splices.find((one) => one.stream === stream);
    const next = splice === undefined ? source(name) : spliced(source(name), splice.after, source(`${splice.seed}/setup/${stream}`));
    if (onDraw === undefined || stream === '') return next;
    return () => {
      onDraw(stream);
      return next();
    };
  });
}

/** 32-bit numbers. */
type Source = () => number;

const source = (name: string): Source => seedrandom.alea(name).int32;

/** The first `after` numbers of one, then those of the other from its beginning. */
function spliced(before: Source, after: number, then: Source): Source {
  let drawn = 0;
  return () => (drawn++ < after ? before() : then());
}

/** A stream of this name; equal names give equal values. */
function makeStream(name: string, sourceOf: (name: string) => Source): RandomStream {
  // Seeding costs two microseconds, and many streams are only forked.
  let next: Source | undefined;
  const draw32 = (): number => {
    next ??= sourceOf(name);
    return next() >>> 0;
  };
  const below = (count: number): number => {
    if (count <= TWO_32) return Math.floor((draw32() * count) / TWO_32);
    return ((draw32() & 0x1fffff) * TWO_32 + draw32()) % count;
  };
  return {
    integer: (low, high) => low + below(high - low + 1),
    chance: (numerator, denominator) => below(denominator) < numerator,
    pick: (items) => {
      if (items.length === 0) throw new RangeError('nothing to pick from');
      return items[below(items.length)]!;
    },
    random64: () => (BigInt(draw32()) << 32n) | BigInt(draw32()),
    fork: (child) => makeStream(`${name}/${child}`, sourceOf),
  };
}
