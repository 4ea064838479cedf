/**
 * `npm run fuzz:kernel`: cases that nobody wrote. A seed draws a configuration and what happens to the pair, written in the same words as the cases are
 * and run by the same code; so what fails can be read, shortened by hand and kept as a case. Every scene is one that must end well: after it the
 * two are brought together again, and lose nothing.
 */

import seedrandom from 'seedrandom';
import { parseCases, variantsOf, type Variant } from './script.js';

const PEER_TROUBLE = 'did not arrive in time|short read|timed out|error receiving|sock_|meta connection|Local IO failed|given up|connection lost|expected exactly';

type Pick = <T>(from: readonly T[]) => T;

interface Draw {
  pick: Pick;
  /** From `low` to `high`, both included; small ones more often. */
  small: (low: number, high: number) => number;
  between: (low: number, high: number) => number;
}

function drawOf(seed: number): Draw {
  const random = seedrandom(`kernel-lab ${seed}`);
  const between = (low: number, high: number): number => low + Math.floor(random() * (high - low + 1));
  return { between, pick: (from) => from[between(0, from.length - 1)]!, small: (low, high) => low + Math.floor((high - low + 1) * random() ** 2) };
}

/** What happens while `p` is Primary and `s` Secondary, both in sync; gives who is Primary afterwards. */
type Scene = (draw: Draw, p: string, s: string, name: string) => { steps: string[]; primary: string };

const fault = ({ pick, small, between }: Draw, packets: number): string => {
  const how = pick(['cut', 'cut', 'cut-data', 'cut-meta', 'cut-inside', 'hold']);
  return `link ${how} ${small(0, packets)}${how === 'hold' ? ` ${between(50, 4000)}` : ''}`;
};

const scenes: Record<string, Scene> = {
  /** While the application writes. */
  writes: (draw, p, _s, name) => ({ primary: p, steps: [`${p} load 100+300 ${name}`, fault(draw, 400), `wait ${draw.between(300, 2500)}`] }),
  /** While they connect. */
  handshake: (draw, p, s, name) => ({
    primary: p,
    steps: [`${s} may disconnect`, `${p} write 500+${draw.between(1, 40)} ${name}`, fault(draw, 40), `${s} may connect`, `wait ${draw.between(500, 2000)}`],
  }),
  /** While a resync runs, perhaps under load. */
  resync: (draw, p, s, name) => ({
    primary: p,
    steps: [
      `${s} may disconnect`,
      `${p} write 500+${draw.between(100, 400)} ${name}`,
      ...(draw.pick([true, false]) ? [`${p} load 400+300 ${name}-load`] : []),
      fault(draw, 200),
      `${s} may connect`,
      `wait ${draw.between(500, 2000)}`,
    ],
  }),
  fullSync: (draw, p, s) => ({ primary: p, steps: [fault(draw, 300), `${draw.pick([`${s} may invalidate`, `${p} may invalidate-remote`])}`, `wait ${draw.between(300, 2000)}`] }),
  verify: (draw, p, s) => ({ primary: p, steps: [fault(draw, 300), `${draw.pick([p, s])} may verify`, `wait ${draw.between(300, 1500)}`] }),
  /** The link swallows everything for a while. */
  silence: (draw, p, _s, name) => ({ primary: p, steps: [`${p} load 100+300 ${name}`, 'link off', `wait ${draw.between(200, 5000)}`, 'link on', `wait ${draw.between(0, 500)}`] }),
  freeze: (draw, p, s, name) => ({ primary: p, steps: [`${p} load 100+300 ${name}`, `${s} freeze`, `wait ${draw.between(200, 5000)}`, `${s} thaw`, `wait ${draw.between(0, 500)}`] }),
  secondaryDies: (draw, p, s, name) => ({ primary: p, steps: [`${p} load 100+300 ${name}`, `wait ${draw.between(0, 500)}`, `${s} crash`, `wait ${draw.between(0, 1000)}`] }),
  primaryDies: (draw, p, _s, name) => ({ primary: p, steps: [`${p} load 100+${draw.pick([100, 3000])} ${name}`, `wait ${draw.between(0, 800)}`, `${p} crash`, 'reunite', `${p} primary`] }),
  bothDie: (draw, p, _s, name) => ({ primary: p, steps: [`${p} load 100+300 ${name}`, `wait ${draw.between(0, 800)}`, 'both crash', 'reunite', `${p} primary`] }),
  failover: (draw, p, s, name) => ({
    primary: s,
    steps: [`${p} load 100+${draw.pick([100, 3000])} ${name}`, `wait ${draw.between(0, 800)}`, `${p} crash`, `${s} is WFConnection Secondary/Unknown UpToDate/DUnknown`, `${s} primary`, `${s} write 600+20 ${name}-after`],
  }),
  rolesChange: (draw, p, s, name) => ({ primary: s, steps: [`${p} write 700+10 ${name}`, `${p} secondary`, `${s} primary`, `${s} discard ${draw.between(100, 400)}+${draw.between(1, 200)}`] }),
};

/** The text of a seed's case. */
export function scriptOf(seed: number): string {
  const draw = drawOf(seed);
  const names = Object.keys(scenes);
  const net = [['protocol', draw.pick(['C', 'C', 'A', 'B'])], ['verify-alg', 'crc32c']];
  if (draw.pick([true, false])) net.push(['csums-alg', draw.pick(['md5', 'crc32c'])]);
  if (draw.pick([true, false, false])) net.push(['data-integrity-alg', 'crc32c']);
  if (draw.pick([true, false, false])) net.push(['use-rle', 'no']);
  const isC = net[0]![1] === 'C';
  const lines = [`case seed-${seed}`, `net ${net.map((pair) => pair.join(' ')).join(', ')}`, `allows ${PEER_TROUBLE}`, 'begin'];
  let primary = draw.pick(['one', 'other']);
  lines.push(`${primary} primary`);
  for (let at = 0, count = draw.between(2, 4); at < count; at++) {
    // With protocols A and B the survivor may lack what was acknowledged.
    const name = draw.pick(names.filter((one) => isC || one !== 'failover'));
    const scene = scenes[name]!(draw, primary, primary === 'one' ? 'other' : 'one', `${name}-${at}`);
    lines.push(`# ${name}`, ...scene.steps, 'reunite');
    primary = scene.primary;
  }
  return `${lines.join('\n')}\n`;
}

export function variantOf(seed: number): Variant {
  const [script] = parseCases('fuzz', scriptOf(seed));
  const variant = variantsOf(script!)[seed % 2]!;
  return { ...variant, title: `fuzz/seed-${seed}` };
}
