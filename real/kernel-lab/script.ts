/**
 * The cases are text, so that a reader sees what happens and nothing else:
 *
 *     case bitmap
 *     net csums-alg md5 | use-rle no
 *     begin
 *     one primary
 *     one write 10+4 alpha
 *
 * A case ends where the next begins; lines with # are comments. `meta` says where the metadata is, `bytes` how large the disks are, `allows`
 * what the logs may say, `finding` what is wrong because of the kernel. `net`, `disk` and `handlers` are options of both nodes (`net@one` of one of
 * them), alternatives between `|` make a variant each. Steps begin with who does it: `one`, `other`, `both`, and each case runs twice, with the
 * kernel as the one and as the other; a step of `kernel` or `ours` makes it run once. What the words mean is in steps.ts.
 */

import type { MetaPlace } from './kernel-peer.js';

export type Side = 'one' | 'other';
export type Who = Side | 'both' | 'kernel' | 'ours';

export interface Step {
  text: string;
  who: Who | undefined;
  verb: string;
  words: string[];
}

export interface OptionLine {
  section: 'net' | 'disk' | 'handlers';
  who: Who;
  /** Each a list of `NAME VALUE`. */
  alternatives: [string, string][][];
}

export interface CaseScript {
  theme: string;
  name: string;
  /** Where the metadata is, and how large the disks are: a variant each. */
  metas: MetaPlace[];
  bytes: (number | undefined)[];
  options: OptionLine[];
  /** What the logs may say in this case, though it is a complaint. */
  allows: RegExp[];
  /** What is wrong afterwards, all of it, where the case shows a fault of the kernel's. */
  finding: RegExp | undefined;
  steps: Step[];
}

/** One run of a case. */
export interface Variant {
  script: CaseScript;
  kernelIs: Side;
  meta: MetaPlace;
  bytes: number | undefined;
  /** Which alternative of each option line. */
  picks: number[];
  title: string;
}

const WHO = new Set(['one', 'other', 'both', 'kernel', 'ours']);

export function parseCases(theme: string, text: string): CaseScript[] {
  const cases: CaseScript[] = [];
  for (const [index, raw] of text.split('\n').entries()) {
    const line = raw.replace(/^\s*#.*/, '').trim();
    if (line === '') continue;
    const [head, ...words] = line.split(/\s+/) as [string, ...string[]];
    if (head === 'case') {
      cases.push({ theme, name: words.join('-'), metas: ['internal'], bytes: [undefined], options: [], allows: [], finding: undefined, steps: [] });
      continue;
    }
    const last = cases.at(-1);
    if (!last) throw new Error(`${theme}:${index + 1}: a step before the first case`);
    const option = /^(net|disk|handlers)(?:@(\w+))? (.*)$/.exec(line);
    if (option) {
      const [, section, who = 'both', rest] = option as unknown as [string, OptionLine['section'], Who, string];
      const alternatives = rest.split('|').map((one) => one.split(',').map((pair) => pair.trim().split(/\s+/) as [string, string]).filter(([name]) => name !== ''));
      last.options.push({ section, who, alternatives });
    } else if (head === 'meta') last.metas = words.filter((word) => word !== '|') as MetaPlace[];
    else if (head === 'bytes') last.bytes = words.filter((word) => word !== '|').map(Number);
    else if (head === 'allows') last.allows.push(new RegExp(words.join(' '), 'i'));
    else if (head === 'finding') last.finding = new RegExp(words.join(' '));
    else if (WHO.has(head)) last.steps.push({ text: line, who: head as Who, verb: words[0]!, words: words.slice(1) });
    else last.steps.push({ text: line, who: undefined, verb: head, words });
  }
  return cases;
}

/** Every way in which a case is run. */
export function variantsOf(script: CaseScript): Variant[] {
  const isOnce = script.steps.some(({ who }) => who === 'kernel' || who === 'ours') || script.options.some(({ who }) => who === 'kernel' || who === 'ours');
  let choices: number[][] = [[]];
  for (const { alternatives } of script.options) choices = choices.flatMap((picks) => alternatives.map((_, pick) => [...picks, pick]));
  const places = script.metas.flatMap((meta) => script.bytes.map((bytes) => ({ meta, bytes })));
  return choices.flatMap((picks) => places.flatMap(({ meta, bytes }) =>
    (isOnce ? (['one'] as const) : (['one', 'other'] as const)).map((kernelIs) => {
      const chosen = picks.flatMap((pick, index) => {
        const { alternatives } = script.options[index]!;
        return alternatives.length > 1 ? alternatives[pick]!.map((pair) => pair.join(' ')) : [];
      });
      if (script.metas.length > 1) chosen.unshift(meta);
      if (bytes !== undefined) chosen.unshift(`${bytes} bytes`);
      const title = [`${script.theme}/${script.name}`, ...(isOnce ? [] : [`kernel is ${kernelIs}`]), ...chosen].join(', ');
      return { script, kernelIs, meta, bytes, picks, title };
    }),
  ));
}
