/** Splices as words: `swarm/faults@23=815`, on the command line of a run, and checked field by field in a failure file. */

import type { Splice } from '../sim/types.js';
import { UsageError } from '../sim/types.js';
import { isRecord } from './files.js';

export function spliceWord({ stream, after, seed }: Splice): string {
  return `${stream}@${after}=${seed}`;
}

/** Throws `UsageError` for what is no splice, for two of one stream, and for a stream that the run does not draw from. */
export function parseSplices(texts: readonly string[], streams: ReadonlyMap<string, number>): Splice[] {
  return checkSplices(
    texts.map((text) => {
      const match = /^(.+)@(\d+)=(\d+)$/.exec(text);
      if (match === null) throw new UsageError(`'--splice ${text}' splices nothing; write --splice STREAM@AFTER=SEED`);
      return { stream: match[1]!, after: Number(match[2]), seed: Number(match[3]) };
    }),
    '--splice',
    streams,
  );
}

export function checkSplices(value: unknown, where: string, streams?: ReadonlyMap<string, number>): Splice[] {
  const wrong = (what: string): UsageError => new UsageError(`${where}: ${what}; see Splice in sim/types.ts`);
  if (!Array.isArray(value)) throw wrong('"splices" is no list');
  const known = new Set<string>();
  return value.map((one: unknown) => {
    if (!isRecord(one) || typeof one['stream'] !== 'string' || !isWhole(one['after']) || !isWhole(one['seed']) || Object.keys(one).length !== 3) {
      throw wrong('a splice has a "stream", and whole numbers "after" and "seed", nothing else');
    }
    const { stream } = one;
    if (known.has(stream)) throw wrong(`the stream '${stream}' is spliced twice`);
    if (streams !== undefined && !streams.has(stream)) throw wrong(`the run draws nothing from '${stream}'; it has ${[...streams.keys()].sort().join(', ')}`);
    known.add(stream);
    return one as unknown as Splice;
  });
}

const isWhole = (value: unknown): boolean => typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
