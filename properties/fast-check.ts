// fast-check as every test of the house takes it: with a seed that is the same each time, so that a gate turns red by a change and
// never by chance. Fuzzing with others goes on beside it: LOCKSTEP_SEED is a seed (what a failure printed), or the word `random`;
// LOCKSTEP_RUNS is how many runs of the core's long properties are made.

import fc from 'fast-check';

/** What `npm test` draws from. */
const GATE_SEED = 20090617;

/** The seed of this process; undefined lets fast-check draw one (it prints it with a failure). A word that says neither throws. */
export function seedOf(word: string | undefined): number | undefined {
  if (word === undefined || word === '') return GATE_SEED;
  if (word === 'random') return undefined;
  if (!/^-?\d+$/.test(word)) throw new Error(`LOCKSTEP_SEED is a whole number or the word random, not "${word}"`);
  return Number(word);
}

/** Runs of a property that is worth more of them than a gate has time for. */
export const runsOr = (usual: number): number => {
  const word = process.env['LOCKSTEP_RUNS'] ?? String(usual);
  if (!/^[1-9]\d*$/.test(word)) throw new Error(`LOCKSTEP_RUNS is a whole number above 0, not "${word}"`);
  return Number(word);
};

const seed = seedOf(process.env['LOCKSTEP_SEED']);
fc.configureGlobal({ includeErrorInReport: true, ...(seed !== undefined && { seed }) });

export default fc;
